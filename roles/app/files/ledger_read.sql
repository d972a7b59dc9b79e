-- The release that each app runs, and all that it had, as one JSON object. Without a ledger there are none.
SELECT to_regclass('paas.releases') IS NOT NULL AS there \gset
\if :there
WITH ledger AS (
  -- A release is the current one from its first day, or from when a deploy has brought it to every region.
  SELECT id, app, digest, coalesce((to_jsonb(r) ->> 'current_since')::timestamptz, released_at) AS since FROM paas.releases AS r
)
SELECT json_build_object(
  'latest', (SELECT coalesce(json_object_agg(app, digest), '{}')
               FROM (SELECT DISTINCT ON (app) app, digest FROM ledger WHERE since > '-infinity' ORDER BY app, since DESC, id DESC) AS latest),
  'known', (SELECT coalesce(json_object_agg(app, digests), '{}') FROM (SELECT app, json_agg(digest) AS digests FROM ledger GROUP BY app) AS known));
\else
SELECT '{}';
\endif
