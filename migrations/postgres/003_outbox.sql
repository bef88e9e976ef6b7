-- What committed transactions owe to the bus (docs/decisions/0008-outbox.md): one row for each
-- message, written in the transaction, deleted once the bus has acknowledged it.
create table outbox (
  id bigint generated always as identity primary key,
  -- Messages of one key are published in the order of their ids.
  key text not null,
  position bigint null,
  subject text not null,
  message_id text not null,
  payload text not null,
  created_at timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
