-- specs/matrix-rooms-bridge §2.1; the archived mark of §4.3.
alter table city_rooms
  add column if not exists matrix_room_id text,
  add column if not exists matrix_room_alias text,
  add column if not exists archived_at timestamptz;
create unique index if not exists city_rooms_matrix_room_id_uq
  on city_rooms (matrix_room_id) where matrix_room_id is not null;
create unique index if not exists city_rooms_matrix_room_alias_uq
  on city_rooms (matrix_room_alias) where matrix_room_alias is not null;
