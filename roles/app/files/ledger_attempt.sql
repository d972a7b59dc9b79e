-- A deploy begins, unless the release is the current one. The last line is the position that followers must have replayed.
\if :deploy
WITH latest AS (
  SELECT digest FROM paas.releases WHERE app = :'app' AND running_on IS NULL AND coalesce(current_since, released_at) > '-infinity'
   ORDER BY coalesce(current_since, released_at) DESC, id DESC LIMIT 1
)
UPDATE paas.releases AS r SET attempted_at = now(), going_back = :'back'::boolean, breaks_older = r.breaks_older OR :'breaks_older'::boolean
 WHERE r.app = :'app' AND r.digest = :'digest'
   AND (NOT EXISTS (SELECT FROM latest WHERE latest.digest = r.digest) OR r.breaks_older < :'breaks_older'::boolean)
RETURNING 'attempted';
\endif
SELECT pg_current_wal_flush_lsn();
