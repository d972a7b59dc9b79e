-- One row per app and release, whoever writes first. The answer is the position that followers must have replayed.
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('multiregion.paas releases')) \g /dev/null
SET LOCAL client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS paas;
CREATE TABLE IF NOT EXISTS paas.releases (
  id bigint GENERATED ALWAYS AS IDENTITY,
  app text NOT NULL,
  digest text NOT NULL,
  released_at timestamptz NOT NULL DEFAULT now(),
  released_by text NOT NULL DEFAULT '',
  PRIMARY KEY (app, digest)
);
-- When a deploy had brought it to every region; -infinity until then, empty for an app's first release.
ALTER TABLE paas.releases ADD COLUMN IF NOT EXISTS current_since timestamptz;
ALTER TABLE paas.releases ADD COLUMN IF NOT EXISTS breaks_older boolean NOT NULL DEFAULT false;
INSERT INTO paas.releases (app, digest, released_by, current_since, breaks_older)
  VALUES (:'app', :'digest', :'released_by', CASE WHEN :'deploy'::boolean THEN '-infinity'::timestamptz END, :'breaks_older'::boolean)
  ON CONFLICT DO NOTHING;
COMMIT;
SELECT pg_current_wal_flush_lsn();
