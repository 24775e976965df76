CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE TABLE "directory" (
   "run_id" TEXT PRIMARY KEY,
   "name" TEXT,
   "status" TEXT,
   "engine" TEXT,
   "owner" TEXT,
   "epoch" INTEGER,
   "priority" INTEGER,
   "submitted_at" INTEGER,
   "changed_at" INTEGER
, "parent" TEXT);
CREATE INDEX "idx_directory_name_submitted_at"
    ON "directory" ("name", "submitted_at");
CREATE INDEX "idx_directory_status"
    ON "directory" ("status");
CREATE TABLE "snapshots" (
   "stream" TEXT PRIMARY KEY,
   "version" INTEGER,
   "fold" INTEGER,
   "data" BLOB
);
CREATE TABLE inbox (id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT, at INTEGER, actor TEXT, command TEXT);
CREATE TABLE "members" (
   "id" TEXT PRIMARY KEY,
   "host" TEXT,
   "pid" INTEGER,
   "expires" INTEGER,
   "address" TEXT
);
CREATE TABLE subscriptions (name TEXT PRIMARY KEY, position INTEGER NOT NULL, state BLOB NOT NULL);
CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE "events" (
   "position" INTEGER PRIMARY KEY,
   "stream" INTEGER NOT NULL,
   "version" INTEGER NOT NULL,
   "type" TEXT NOT NULL,
   "schema" INTEGER NOT NULL,
   "at" INTEGER NOT NULL,
   "actor" TEXT,
   "epoch" INTEGER,
   "encoding" TEXT,
   "payload" TEXT NOT NULL,
   "digest" BLOB NOT NULL
);
CREATE UNIQUE INDEX "idx_events_stream_version"
    ON "events" ("stream", "version");
CREATE INDEX cached ON events (json_extract(payload, '$.cache'), position) WHERE type = 'StepCompleted' AND encoding = 'json' AND json_extract(payload, '$.cache') IS NOT NULL;
CREATE INDEX archived ON events ('run/' || json_extract(payload, '$.run')) WHERE type = 'RunArchived';
CREATE VIEW "runs" AS 
        SELECT run_id, name, status, engine, owner, epoch,
               strftime('%Y-%m-%dT%H:%M:%fZ', submitted_at / 1e9, 'unixepoch') AS submitted, strftime('%Y-%m-%dT%H:%M:%fZ', changed_at / 1e9, 'unixepoch') AS changed,
               (changed_at - submitted_at) / 1e9 AS seconds
        FROM directory ORDER BY submitted_at DESC;
CREATE VIEW "steps" AS 
        SELECT run_id, step,
               CASE WHEN status IN ('failed', 'cancelled', 'skipped')
                         AND coalesce(reason, '') != 'condition'
                         AND version < coalesce((SELECT max(version) FROM events r
                         WHERE r.stream = s.stream AND r.type = 'PipelineResumed'), 0) THEN 'pending'
                    WHEN undoing IS NOT NULL AND EXISTS (SELECT 1 FROM directory d
                       WHERE d.run_id = s.run_id AND d.status IN ('rolling_back', 'rolled_back', 'rollback_failed'))
                         AND version > coalesce((SELECT max(version) FROM events r
                         WHERE r.stream = s.stream AND r.type = 'PipelineRollbackStarted'), 0) THEN undoing
                    WHEN status = 'compensation_failed'
                         AND version < coalesce((SELECT max(version) FROM events r
                         WHERE r.stream = s.stream AND r.type = 'PipelineRollbackResumed'), 0) THEN 'completed'
                    WHEN status IN ('pending', 'retrying', 'waiting', 'suspended')
                         AND EXISTS (SELECT 1 FROM directory d
                       WHERE d.run_id = s.run_id AND d.status IN ('cancelled', 'rolling_back', 'rolled_back', 'rollback_failed')) THEN 'cancelled'
                    ELSE status END AS status,
               attempt, strftime('%Y-%m-%dT%H:%M:%fZ', at / 1e9, 'unixepoch') AS changed, version
        FROM (SELECT stream, substr(name, 5) AS run_id,
                     json_extract(payload, '$.step') AS step,
                     json_extract(payload, '$.reason') AS reason,
                     CASE type WHEN 'StepProgressed' THEN 'running' WHEN 'StepCheckpointed' THEN 'running' WHEN 'StepItemCompleted' THEN 'running' WHEN 'StepItemFailed' THEN 'running' WHEN 'StepCompensationStarted' THEN 'compensating' WHEN 'StepCompensated' THEN 'compensated' WHEN 'StepCompensationFailed' THEN 'compensation_failed' WHEN 'StepCompensationRetryScheduled' THEN 'completed' WHEN 'StepInterrupted' THEN 'pending' WHEN 'StepQueued' THEN 'waiting' WHEN 'StepStarted' THEN 'running' WHEN 'StepYielded' THEN 'pending' WHEN 'StepSuspended' THEN 'suspended' WHEN 'StepWoken' THEN 'pending' WHEN 'StepCompleted' THEN 'completed' WHEN 'StepReused' THEN 'completed' WHEN 'StepFailed' THEN 'failed' WHEN 'StepTimedOut' THEN 'failed' WHEN 'StepRetryScheduled' THEN 'retrying' WHEN 'StepFallbackScheduled' THEN 'pending' WHEN 'StepSkipped' THEN 'skipped' WHEN 'StepCancelled' THEN 'cancelled' END AS status,
                     CASE type WHEN 'StepProgressed' THEN 'compensating' WHEN 'StepCheckpointed' THEN 'compensating' WHEN 'StepItemCompleted' THEN 'compensating' WHEN 'StepItemFailed' THEN 'compensating' WHEN 'StepCompensationStarted' THEN 'compensating' WHEN 'StepInterrupted' THEN 'completed' END AS undoing,
                     nullif(max(json_extract(payload, '$.attempt')) OVER (
                         PARTITION BY stream, json_extract(payload, '$.step')), 0) AS attempt,
                     at, version,
                     row_number() OVER (
                         PARTITION BY stream, json_extract(payload, '$.step')
                         ORDER BY version DESC) AS newest
              FROM events JOIN streams ON id = stream WHERE type LIKE 'Step%') s
        WHERE newest = 1;
CREATE VIEW "failures" AS 
        SELECT substr(name, 5) AS run_id, json_extract(payload, '$.step') AS step,
               nullif(json_extract(payload, '$.attempt'), 0) AS attempt,
               json_extract(payload, '$.error.type') AS error,
               json_extract(payload, '$.error.message') AS message,
               json_extract(payload, '$.error.category') AS category,
               strftime('%Y-%m-%dT%H:%M:%fZ', at / 1e9, 'unixepoch') AS at, version
        FROM events JOIN streams ON id = stream
        WHERE type IN ('StepFailed', 'StepTimedOut', 'StepCompensationFailed',
                       'StepCompensationRetryScheduled')
        ORDER BY position DESC;
CREATE VIEW "history" AS 
        SELECT position, name AS stream, version, type, schema, at, actor, epoch, encoding, payload, digest FROM events LEFT JOIN streams ON streams.id = events.stream ORDER BY position;
CREATE VIEW "lines" AS 
        SELECT substr(name, 5) AS run_id, step, attempt, item, strftime('%Y-%m-%dT%H:%M:%fZ', at / 1e9, 'unixepoch') AS at, level,
               CASE encoding WHEN 'json' THEN json_extract(payload, '$.event') END AS event,
               CASE encoding WHEN 'json' THEN json_remove(payload, '$.event') END AS fields
        FROM logs JOIN streams ON streams.id = stream ORDER BY logs.id;
CREATE TABLE logs (id INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, step TEXT NOT NULL, attempt INTEGER NOT NULL, item TEXT, at INTEGER NOT NULL, level TEXT NOT NULL, encoding TEXT NOT NULL, payload TEXT NOT NULL);
CREATE INDEX "idx_logs_stream"
    ON "logs" ("stream");
INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('semantica.pipeline', 'm001_log', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));
INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('semantica.pipeline', 'm002_views', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));
INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('semantica.pipeline', 'm003_cache', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));
INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('semantica.pipeline', 'm004_views', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));
INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('semantica.pipeline', 'm005_parents', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));
INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('semantica.pipeline', 'm006_archive', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));
INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('semantica.pipeline', 'm007_subscriptions', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));
INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('semantica.pipeline', 'm008_streams', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));
INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('semantica.pipeline', 'm009_logs', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));
