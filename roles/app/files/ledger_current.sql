-- The release is in every region now. Nothing when it was already the current one.
SET client_min_messages = warning;
ALTER TABLE paas.releases ADD COLUMN IF NOT EXISTS current_since timestamptz;
WITH latest AS (
  SELECT DISTINCT ON (app) app, digest FROM paas.releases WHERE app = :'app' AND coalesce(current_since, released_at) > '-infinity'
   ORDER BY app, coalesce(current_since, released_at) DESC, id DESC
)
UPDATE paas.releases AS r SET current_since = now()
 WHERE r.app = :'app' AND r.digest = :'digest' AND NOT EXISTS (SELECT FROM latest WHERE latest.digest = r.digest)
RETURNING 'current';
