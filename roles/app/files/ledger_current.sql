-- The release is in every region now, and no deploy of the app is unfinished. Nothing when that was so already.
WITH latest AS (
  SELECT digest FROM paas.releases WHERE app = :'app' AND running_on IS NULL AND coalesce(current_since, released_at) > '-infinity'
   ORDER BY coalesce(current_since, released_at) DESC, id DESC LIMIT 1
)
UPDATE paas.releases AS r
   SET attempted_at = NULL,
       current_since = CASE WHEN r.digest = :'digest' AND NOT EXISTS (SELECT FROM latest WHERE latest.digest = r.digest)
                            THEN now() ELSE r.current_since END
 WHERE r.app = :'app'
   AND (r.attempted_at IS NOT NULL OR (r.digest = :'digest' AND NOT EXISTS (SELECT FROM latest WHERE latest.digest = r.digest)))
RETURNING 'current';
