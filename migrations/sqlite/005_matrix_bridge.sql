-- The bridge to Matrix rooms.
-- A room's row may change: its revision counts the changes, last_change is the id of the newest one.
alter table city_rooms add column revision integer not null default 0;
alter table city_rooms add column last_change text null;
-- The event that stands for a message in the Matrix room: of a message that came from there, or has been sent
-- there.
alter table city_room_messages add column matrix_event_id text null;
create unique index city_room_messages_matrix_event_uq
  on city_room_messages (matrix_event_id) where matrix_event_id is not null;
-- What is to be said in Matrix rooms: a row from the message's own transaction until the homeserver has taken
-- it. A message that the homeserver refuses for good keeps its row, with the reason.
create table matrix_outgoing (
  message_id text primary key not null references city_room_messages(id) on delete cascade,
  room_id text not null references city_rooms(id) on delete cascade,
  position integer not null,
  refused_at integer null,
  refused_code text null
);
create index ix_matrix_outgoing_room on matrix_outgoing (room_id, position) where refused_at is null;
