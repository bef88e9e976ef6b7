/** Messages for tests of this folder. */
import type { Message } from '../api/types';

export function message(offset: number, more: Partial<Message> = {}): Message {
  const author = more.author_user_id === undefined ? 'u_olena' : more.author_user_id;
  const body = more.body ?? `слово ${offset}`;
  return {
    id: `m_city_${offset}`,
    room_id: 'room_city_general',
    offset,
    author_user_id: author,
    author_agent_id: null,
    user_id: author,
    username: 'Олена',
    body,
    text: body,
    created_at: new Date(2026, 10, 20, 10, 0, offset).toISOString(),
    ...more,
  };
}
