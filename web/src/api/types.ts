/** The wire's types under short names; made from schema/*.yaml by `npm run generate`. */
import type * as frames from '../generated/frames';
import type { components } from '../generated/http';

type Schemas = components['schemas'];

export type Room = Schemas['Room'];
export type Message = Schemas['Message'];
export type RoomDetail = Schemas['RoomDetail'];
export type MessagePage = Schemas['MessagePage'];
export type FeedEvent = Schemas['FeedEvent'];
export type GuestSession = Schemas['GuestSession'];
export type PageLeave = Schemas['PageLeave'];
export type RoomCreate = Schemas['RoomCreate'];
export type PresenceUpdate = Schemas['PresenceUpdate'];

export type { RoomUser, TypingUser } from '../generated/frames';

/** JSON frames; the bare text ping and pong are the socket's own business. */
export type RoomServerFrame = Exclude<frames.RoomSocketServerFrame, string>;
export type RoomClientFrame = Exclude<frames.RoomSocketClientFrame, string>;
export type PresenceServerFrame = Exclude<frames.PresenceSocketServerFrame, string>;
export type PresenceClientFrame = Exclude<frames.PresenceSocketClientFrame, string>;
