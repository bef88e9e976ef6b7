import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import './ui/fonts.css';
import './theme/tokens.css';
import './ui/base.css';
import './ui/controls.css';
import './city/building.css';
import './city/city.css';
import './app/app.css';
import './room/room.css';
import { App } from './app/App';
import { followOtherTabs } from './app/session';
import { startLocale } from './i18n/i18n';
import { startClock } from './i18n/time';
import { startCity } from './presence/city-live';
import { startTheme } from './theme/theme';

startTheme();
startLocale();
startClock();
followOtherTabs();
startCity();

const root = document.getElementById('root');
if (root === null) throw new Error('the page has no #root');
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
