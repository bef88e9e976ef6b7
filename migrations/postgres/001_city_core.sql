-- Rooms, messages and the feed (specs/city-backend §2.1-2.3, column by column, with additions), and
-- what the wire needs beside them: a position for every message of a room, idempotency keys, and the
-- epoch that names this database's history to resuming clients.

create table city_rooms (
  id text primary key,
  slug text not null unique,
  name text not null,
  description text null,
  is_default boolean not null default false,
  created_at timestamptz not null default now(),
  created_by text null
);
create index ix_city_rooms_slug on city_rooms(slug);

create table city_room_messages (
  id text primary key,
  room_id text not null references city_rooms(id) on delete cascade,
  author_user_id text null,
  author_agent_id text null,
  body text not null,
  created_at timestamptz not null default now(),
  -- additions
  author_name text not null default '',
  position bigint not null,
  idempotency_key text null,
  constraint city_room_messages_one_author check ((author_user_id is null) <> (author_agent_id is null))
);
create index ix_city_room_messages_room_time on city_room_messages(room_id, created_at desc);
create unique index city_room_messages_position_uq on city_room_messages(room_id, position);
create unique index city_room_messages_idempotency_uq
  on city_room_messages(room_id, author_user_id, idempotency_key) where idempotency_key is not null;

create table city_feed_events (
  id text primary key,
  kind text not null,
  room_id text null references city_rooms(id) on delete set null,
  user_id text null,
  agent_id text null,
  payload jsonb not null,
  created_at timestamptz not null default now(),
  -- additions
  user_name text null
);
create index ix_city_feed_time on city_feed_events(created_at desc);

-- The newest position of each room. Its row lock gives messages their order; kept apart from
-- city_rooms so that chat does not rewrite wide rows.
create table city_room_heads (
  room_id text primary key references city_rooms(id) on delete cascade,
  last_position bigint not null default 0,
  last_message_id text null,
  last_event_at timestamptz null
) with (fillfactor = 50);

create table city_meta (
  key text primary key,
  value text not null
);
insert into city_meta (key, value) values ('epoch', replace(gen_random_uuid()::text, '-', ''));
