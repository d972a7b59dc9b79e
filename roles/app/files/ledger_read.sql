-- What the ledger says of each app, as one JSON object: the release that runs, the one that a rollback goes to, all that were released,
-- and for each release the later one, if any, after which it does not work any more.
SELECT to_regclass('paas.releases') IS NOT NULL AS there \gset
\if :there
WITH ledger AS (
  -- An older table lacks columns. A release is the current one from its first day, or from when a deploy has brought it to every region.
  SELECT id, app, digest,
         coalesce((to_jsonb(r) ->> 'current_since')::timestamptz, released_at) AS since,
         coalesce((to_jsonb(r) ->> 'breaks_older')::boolean, false) AS breaks_older,
         (to_jsonb(r) ->> 'attempted_at')::timestamptz AS attempted_at,
         (to_jsonb(r) ->> 'going_back')::boolean AS going_back,
         to_jsonb(r) ->> 'running_on' IS NULL AS released
    FROM paas.releases AS r
), turns AS (
  SELECT app, digest, row_number() OVER (PARTITION BY app ORDER BY since DESC, id DESC) AS turn FROM ledger WHERE released AND since > '-infinity'
), broken AS (
  -- A release command that runs, or whose run nobody has noted the end of, may have moved the database already.
  SELECT DISTINCT ON (older.id) older.app, older.digest, newer.digest AS broken_by
    FROM ledger AS older JOIN ledger AS newer ON newer.app = older.app AND newer.id > older.id AND newer.breaks_older ORDER BY older.id, newer.id
)
SELECT coalesce(json_object_agg(app, json_build_object(
         'known', known,
         'current', (SELECT digest FROM turns WHERE turns.app = apps.app AND turn = 1),
         -- A rollback that has not got through is gone on with. Where a deploy has not, the release before it is still the current one.
         'previous', coalesce(going_back_to, (SELECT digest FROM turns WHERE turns.app = apps.app AND turn = CASE WHEN unfinished THEN 1 ELSE 2 END)),
         'broken_by', (SELECT coalesce(json_object_agg(digest, broken_by), '{}') FROM broken WHERE broken.app = apps.app))), '{}')
  FROM (SELECT app, json_agg(digest) AS known, bool_or(attempted_at IS NOT NULL) AS unfinished,
               (array_agg(CASE WHEN going_back THEN digest END ORDER BY attempted_at DESC) FILTER (WHERE attempted_at IS NOT NULL))[1] AS going_back_to
          FROM ledger WHERE released GROUP BY app) AS apps;
\else
SELECT '{}';
\endif
