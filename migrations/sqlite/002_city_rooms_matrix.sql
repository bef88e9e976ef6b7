-- specs/matrix-rooms-bridge §2.1; the archived mark of §4.3.
alter table city_rooms add column matrix_room_id text;
alter table city_rooms add column matrix_room_alias text;
alter table city_rooms add column archived_at integer;
create unique index city_rooms_matrix_room_id_uq
  on city_rooms (matrix_room_id) where matrix_room_id is not null;
create unique index city_rooms_matrix_room_alias_uq
  on city_rooms (matrix_room_alias) where matrix_room_alias is not null;
