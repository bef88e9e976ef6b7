\set room random(1, 3)
begin;
insert into bench_messages (id, room_id, author_user_id, body, created_at) values (md5(random()::text || clock_timestamp()::text), 'room_' || :room, 'u_1', 'Привіт місто, це повідомлення номер 1', now());
insert into bench_events (id, kind, room_id, user_id, payload, created_at) values (md5(random()::text || clock_timestamp()::text), 'room_message', 'room_' || :room, 'u_1', '{"body":"Привіт місто, це повідомлення номер 1","snippet":"Привіт місто","message_id":"m_1"}', now());
commit;
