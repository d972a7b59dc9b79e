#!/bin/sh
# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# check_postgres.sh primary|follower PORT LAG: asks the server itself what it is. 0: it is that and well; 1: a follower that receives nothing
# at the moment, but has replayed all that it got; 2: it is not that, does not answer, or lags by more than LAG seconds.
set -u
role=$1 port=$2 lag=$3

# Not Debian's wrapper: this runs every second.
for psql in /usr/lib/postgresql/*/bin/psql; do :; done
answer=$(timeout 2 "$psql" -XAtq -F ' ' -h /var/run/postgresql -p "$port" -d postgres -c "
  SELECT CASE WHEN pg_is_in_recovery() THEN 'follower' ELSE 'primary' END,
    CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
         ELSE coalesce(ceil(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())), 0) END::bigint,
    (SELECT count(*) FROM pg_stat_wal_receiver)" 2>&1) || { echo "no answer: $answer"; exit 2; }
# shellcheck disable=SC2086 # three words without a space in them
set -- $answer
echo "$1, $2 s behind, receiving: $3"
[ "$1" = "$role" ] || exit 2
[ "$role" = primary ] && exit 0
[ "$2" -le "$lag" ] || exit 2
[ "$3" -gt 0 ] || exit 1
