-- Who may run the release command: one at a time for an app, and for a release nobody once it is released. The answer is JSON: the
-- number of this run's claim, if it got it, and which command of the app runs already.
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
-- The host on which its release command runs, empty once that has succeeded.
ALTER TABLE paas.releases ADD COLUMN IF NOT EXISTS running_on text;
-- When a deploy of it began that has not brought it to every region yet.
ALTER TABLE paas.releases ADD COLUMN IF NOT EXISTS attempted_at timestamptz;
-- Whether that deploy is a rollback, which another rollback goes on with.
ALTER TABLE paas.releases ADD COLUMN IF NOT EXISTS going_back boolean NOT NULL DEFAULT false;
WITH running AS (
  SELECT id, digest, running_on AS host, extract(epoch FROM clock_timestamp() - released_at)::integer AS seconds
    FROM paas.releases WHERE app = :'app' AND running_on IS NOT NULL
), claimed AS (
  INSERT INTO paas.releases (app, digest, released_by, current_since, breaks_older, running_on)
  SELECT :'app', :'digest', :'released_by', CASE WHEN :'deploy'::boolean THEN '-infinity'::timestamptz END, :'breaks_older'::boolean,
         nullif(:'host', '')
   WHERE NOT EXISTS (SELECT FROM running)
  ON CONFLICT DO NOTHING RETURNING id
)
SELECT json_build_object('claimed', (SELECT id FROM claimed), 'running', (SELECT to_json(running) FROM running));
COMMIT;
