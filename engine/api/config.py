"""The configuration of pipelines, from a file, the environment, or code::

    from semantica.pipeline.config import PipelineConfig

    config = PipelineConfig(config_file="config.yaml")
    config.get("max_workers", default=4)

What nobody has set has its default.
"""

from semantica.pipeline.engine.configuration import PipelineConfig
from semantica.pipeline.events.errors import ConfigurationError

__all__ = ["ConfigurationError", "PipelineConfig"]
