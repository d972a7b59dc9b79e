-- A list belongs to a session. Identifiers come from the app, so that a write may be repeated safely.
CREATE TABLE todo (
    session_id uuid NOT NULL,
    id uuid NOT NULL,
    position bigint GENERATED ALWAYS AS IDENTITY,
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 500),
    completed boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, id)
);

-- One row for each timeline on which the app has written: a node that has the row has followed that timeline. No
-- privilege is needed to read it, unlike pg_stat_wal_receiver.
CREATE TABLE timeline (
    timeline integer PRIMARY KEY,
    first_write_at timestamptz NOT NULL DEFAULT now()
);
