-- What committed transactions owe to the bus (docs/decisions/0008-outbox.md): one row for each
-- message, written in the transaction, deleted once the bus has acknowledged it.
create table outbox (
  -- autoincrement: an id that was deleted never comes again, so a late delete hits nobody else.
  id integer primary key autoincrement,
  -- Messages of one key are published in the order of their ids.
  key text not null,
  position integer null,
  subject text not null,
  message_id text not null,
  payload text not null,
  created_at integer not null
);
