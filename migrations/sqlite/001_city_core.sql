-- Rooms, messages and the feed (specs/city-backend §2.1-2.3, column by column, with additions), and
-- what the wire needs beside them. Times are INTEGER milliseconds UTC, JSON is TEXT, booleans 0/1.

create table city_rooms (
  id text primary key not null,
  slug text not null unique,
  name text not null,
  description text null,
  is_default integer not null default 0,
  created_at integer not null,
  created_by text null
);
create index ix_city_rooms_slug on city_rooms(slug);

create table city_room_messages (
  id text primary key not null,
  room_id text not null references city_rooms(id) on delete cascade,
  author_user_id text null,
  author_agent_id text null,
  body text not null,
  created_at integer not null,
  -- additions
  author_name text not null default '',
  position integer not null,
  idempotency_key text null,
  constraint city_room_messages_one_author check ((author_user_id is null) <> (author_agent_id is null))
);
create index ix_city_room_messages_room_time on city_room_messages(room_id, created_at desc);
create unique index city_room_messages_position_uq on city_room_messages(room_id, position);
create unique index city_room_messages_idempotency_uq
  on city_room_messages(room_id, author_user_id, idempotency_key) where idempotency_key is not null;

create table city_feed_events (
  id text primary key not null,
  kind text not null,
  room_id text null references city_rooms(id) on delete set null,
  user_id text null,
  agent_id text null,
  payload text not null,
  created_at integer not null,
  -- additions
  user_name text null
);
create index ix_city_feed_time on city_feed_events(created_at desc);

create table city_room_heads (
  room_id text primary key not null references city_rooms(id) on delete cascade,
  last_position integer not null default 0,
  last_message_id text null,
  last_event_at integer null
);

create table city_meta (
  key text primary key not null,
  value text not null
);
insert into city_meta (key, value) values ('epoch', lower(hex(randomblob(16))));
