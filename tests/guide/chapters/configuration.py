"""Configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from guide.case import Script, case
from guide.handlers import Meeting, chain, failing, independent, most_in_flight
from guide.settings import SETTINGS

from semantica.pipeline import PipelineStep, PipelineTemplateManager, Task
from semantica.pipeline.config import PipelineConfig

FILE = "Configuration > Configuration File (YAML)"


@case("Configuration > Environment Variables")
def environment(script: Script) -> None:
    """Bash has executed the block and then started this interpreter."""
    lines = re.findall(r"^export PIPELINE_(\w+)=(.+)$", script.block.text, re.MULTILINE)
    exported = {name.lower(): yaml.safe_load(text) for name, text in lines}
    assert len(exported) == script.block.text.count("export ")
    assert exported.keys() == SETTINGS.keys()
    config = PipelineConfig()
    told = {name: (config.get(name), config.source(name)) for name in exported}
    assert told == {
        name: (value, f"environment PIPELINE_{name.upper()}") for name, value in exported.items()
    }
    for name, (shows, other, along) in SETTINGS.items():
        assert other != exported[name]
        for value in (exported[name], other):
            before = dict(os.environ)
            for setting, changed in {**along, name: value}.items():
                os.environ[f"PIPELINE_{setting.upper()}"] = str(changed).lower()
            shows(None, value)
            os.environ.clear()
            os.environ.update(before)


@case("Configuration > Programmatic Configuration")
def programmatic(script: Script) -> None:
    main = script.run()
    Meeting(4, "meeting")
    pipeline = independent(8, "meeting")
    assert main.engine.execute_pipeline(pipeline).success
    assert most_in_flight(main.engine, pipeline) == 4
    step, lost = PipelineStep("one", "given"), ConnectionError("lost")
    decisions = [main.failure_handler.handle_step_failure(step, lost) for _ in range(4)]
    assert [one.retry_delay for one in decisions] == [1.0, 2.0, 4.0, 0.0]
    assert [one.should_retry for one in decisions] == [True, True, True, False]
    assert main.parallelism_manager.get_worker_count() == 4
    (done,) = main.parallelism_manager.execute_parallel([Task("one", os.getpid)])
    assert done.result == os.getpid(), "in threads"


@case("Configuration > Programmatic Configuration")
def programmatic_retries(script: Script) -> None:
    os.environ["PIPELINE_DEFAULT_MAX_DELAY"] = "0.01"  # so that nobody waits
    os.environ["PIPELINE_DEFAULT_MAX_RETRIES"] = "1"  # the constructor goes before
    os.environ["PIPELINE_RETRY_ON_FAILURE"] = "false"
    recorder = failing("given", 99, lambda: ConnectionError("lost"))
    main = script.run()
    assert not main.engine.execute_pipeline(chain("one")).success
    assert len(recorder.calls) == 4


@case(FILE)
def config_file(script: Script) -> None:
    """Each key, as the guide gives it and with another value."""
    written = yaml.safe_load(script.block.text)
    templates = written.pop("pipeline_templates")
    settings = {name: value for section in written.values() for name, value in section.items()}
    assert settings.keys() == SETTINGS.keys()
    Path("config.yaml").write_text(script.block.text)
    config = PipelineConfig(config_file="config.yaml")
    assert {name: config.get(name) for name in settings} == settings
    assert {config.source(name) for name in settings} == {"file config.yaml"}
    for name, (shows, other, along) in SETTINGS.items():
        assert other != settings[name]
        for value in (settings[name], other):
            shows(_changed(written, {**along, name: value}), value)

    for template, given in templates.items():
        assert _parallelism(config, template) == given["parallelism"]
        others = {**templates, template: {"parallelism": 7}}
        assert _parallelism(_changed({"pipeline_templates": others}, {}), template) == 7


def _changed(sections: Mapping[str, Any], changes: Mapping[str, Any]) -> PipelineConfig:
    """The configuration of a file with these sections, some of whose settings are changed."""
    document = {
        section: {name: changes.get(name, value) for name, value in settings.items()}
        for section, settings in sections.items()
    }
    path = Path("changed.yaml")
    path.write_text(yaml.safe_dump(document))
    return PipelineConfig(config_file=path)


def _parallelism(config: PipelineConfig, template: str) -> int | None:
    manager = PipelineTemplateManager(config)
    return manager.create_pipeline_from_template(template).build().parallelism


@case(FILE, 1)
def load_file(script: Script) -> None:
    text = script.other(FILE, 0)
    Path("config.yaml").write_text(text.replace("max_workers: 4", "max_workers: 6"))
    main = script.run()
    assert (main.max_workers, main.retry_on_failure) == (6, True)
    assert main.config.source("max_workers") == "file config.yaml"


@case(FILE, 1)
def load_file_with_gaps(script: Script) -> None:
    """What the file does not say has the default that is asked for."""
    Path("config.yaml").write_text("pipeline: {retry_on_failure: false}")
    main = script.run()
    assert (main.max_workers, main.retry_on_failure) == (4, False)
