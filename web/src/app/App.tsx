import { useEffect, useRef } from 'react';
import { CityPage } from '../city/CityPage';
import { useMessages } from '../i18n/i18n';
import { RoomPage } from '../room/RoomPage';
import { LoginPage } from './LoginPage';
import { Missing } from './Missing';
import { matchRoute, navigate, usePathname, type Route } from './router';
import { Shell } from './Shell';

function Page({ route }: { route: Route }) {
  const m = useMessages();
  switch (route.page) {
    case 'home':
      return null;
    case 'city':
      return <CityPage />;
    case 'room':
      return <RoomPage key={route.slug} slug={route.slug} />;
    case 'login':
      return <LoginPage />;
    case 'missing':
      return <Missing title={m.missingTitle} text={m.missingText} />;
  }
}

export function App() {
  const pathname = usePathname();
  const route = matchRoute(pathname);
  const shown = useRef(pathname);

  useEffect(() => {
    if (route.page === 'home') navigate('/city', { replace: true });
  }, [route.page]);

  useEffect(() => {
    // A new page is read from its beginning; the first one is left to the browser.
    if (shown.current === pathname) return;
    shown.current = pathname;
    document.getElementById('content')?.focus({ preventScroll: true });
  }, [pathname]);

  return (
    <Shell fixed={route.page === 'room'}>
      <Page route={route} />
    </Shell>
  );
}
