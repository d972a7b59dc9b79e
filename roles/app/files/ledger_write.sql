-- One row per app and release, whoever writes first. The answer is the position that followers must have replayed.
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('multiregion.paas releases')) \g /dev/null
CREATE SCHEMA IF NOT EXISTS paas;
CREATE TABLE IF NOT EXISTS paas.releases (
  id bigint GENERATED ALWAYS AS IDENTITY,
  app text NOT NULL,
  digest text NOT NULL,
  released_at timestamptz NOT NULL DEFAULT now(),
  released_by text NOT NULL DEFAULT '',
  PRIMARY KEY (app, digest)
);
INSERT INTO paas.releases (app, digest, released_by) VALUES (:'app', :'digest', :'released_by') ON CONFLICT DO NOTHING;
COMMIT;
SELECT pg_current_wal_flush_lsn();
