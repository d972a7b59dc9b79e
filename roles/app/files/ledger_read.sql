-- The latest release of each app, as one JSON object. Without a ledger there are none.
SELECT to_regclass('paas.releases') IS NOT NULL AS there \gset
\if :there
SELECT coalesce(json_object_agg(app, digest), '{}')
  FROM (SELECT DISTINCT ON (app) app, digest FROM paas.releases ORDER BY app, released_at DESC, id DESC) AS latest;
\else
SELECT '{}';
\endif
