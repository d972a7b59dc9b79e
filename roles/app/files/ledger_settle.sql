-- The release command has ended: the release is released, or it may be tried again.
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('multiregion.paas releases')) \g /dev/null
\if :succeeded
UPDATE paas.releases SET running_on = NULL, released_at = now() WHERE id = :'claim' AND running_on IS NOT NULL;
\else
DELETE FROM paas.releases WHERE id = :'claim' AND running_on IS NOT NULL;
\endif
COMMIT;
