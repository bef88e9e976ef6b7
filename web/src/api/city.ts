import { request } from './client';
import type {
  FeedEvent,
  GuestSession,
  MessagePage,
  PageLeave,
  Room,
  RoomCreate,
  RoomDetail,
} from './types';

// Public reads go without the token: an expired one would be refused even where none is needed.

export function fetchRooms(signal?: AbortSignal): Promise<Room[]> {
  return request<Room[]>('/api/city/rooms?limit=500', { signal });
}

export function fetchFeed(limit: number, signal?: AbortSignal): Promise<FeedEvent[]> {
  return request<FeedEvent[]>(`/api/city/feed?limit=${limit}`, { signal });
}

export function fetchRoom(slug: string, signal?: AbortSignal): Promise<RoomDetail> {
  return request<RoomDetail>(`/api/city/rooms/${encodeURIComponent(slug)}`, { signal });
}

export function fetchMessages(
  slug: string,
  cursor: { before: string } | { after: string } | null,
  limit: number,
  signal?: AbortSignal,
): Promise<MessagePage> {
  const query = new URLSearchParams({ ...cursor, limit: String(limit) });
  return request<MessagePage>(
    `/api/city/rooms/${encodeURIComponent(slug)}/messages?${query.toString()}`,
    { signal },
  );
}

export function createRoom(token: string, room: RoomCreate): Promise<Room> {
  return request<Room>('/api/city/rooms', { method: 'POST', body: room, token });
}

export function enterAsGuest(displayName: string): Promise<GuestSession> {
  return request<GuestSession>('/api/auth/guest', {
    method: 'POST',
    body: { display_name: displayName },
  });
}

/** For a page that is being closed: nobody is left to hear how it went. */
export function leavePage(page: string, token: string): void {
  request('/api/city/presence/leave', {
    method: 'POST',
    body: { page } satisfies PageLeave,
    token,
    keepalive: true,
  }).catch(() => undefined);
}
