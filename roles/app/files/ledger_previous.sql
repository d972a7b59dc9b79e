-- The release before the current one, and which later release, if any, says that older ones do not work any more.
SELECT to_regclass('paas.releases') IS NOT NULL AS there \gset
\if :there
WITH ledger AS (
  SELECT id, digest, coalesce((to_jsonb(r) ->> 'current_since')::timestamptz, released_at) AS since,
         coalesce((to_jsonb(r) ->> 'breaks_older')::boolean, false) AS breaks_older
    FROM paas.releases AS r WHERE app = :'app'
), previous AS (
  SELECT id, digest FROM ledger WHERE since > '-infinity' ORDER BY since DESC, id DESC OFFSET 1 LIMIT 1
)
SELECT coalesce((SELECT json_build_object('digest', digest,
         'broken_by', (SELECT digest FROM ledger WHERE ledger.id > previous.id AND breaks_older ORDER BY id LIMIT 1)) FROM previous), '{}');
\else
SELECT '{}';
\endif
