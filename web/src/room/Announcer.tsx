import { useEffect, useRef } from 'react';
import { useMessages } from '../i18n/i18n';
import type { RoomView } from './room-live';

const SPOKEN = 200;

/** Says arrivals to those who listen, politely; written past React so that equal words repeat. */
export function Announcer({ news }: { news: RoomView['news'] }) {
  const m = useMessages();
  const region = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (region.current === null || news === null) return;
    region.current.textContent =
      news.body === null ? m.cameIn(news.name) : m.said(news.name, news.body.slice(0, SPOKEN));
  }, [news, m]);
  return <div ref={region} className="visually-hidden" aria-live="polite" />;
}
