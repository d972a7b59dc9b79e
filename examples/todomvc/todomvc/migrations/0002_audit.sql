-- Who asked for what, where, and how it was answered: one row a request, written after the answer was sent.
CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    session_id uuid,
    method text NOT NULL,
    path text NOT NULL,
    status smallint NOT NULL,
    milliseconds real NOT NULL,
    region text NOT NULL,
    host text NOT NULL
);
CREATE INDEX audit_at ON audit USING brin (at);
