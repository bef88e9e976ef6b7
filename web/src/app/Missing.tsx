import { ArrowLeft } from 'lucide-react';
import { Building } from '../city/Building';
import { Sky } from '../city/Sky';
import { useMessages } from '../i18n/i18n';
import { dark } from '../presence/city-state';
import { useTitle } from './page';
import { Link } from './router';

/** A page or a room that does not exist: a dark house at the end of the street. */
export function Missing({ title, text }: { title: string; text: string }) {
  const m = useMessages();
  useTitle(title);
  return (
    <section className="scene">
      <Sky />
      <div className="scene-body">
        <Building slug="nobody-lives-here" light={dark} />
        <div className="scene-words">
          <h1>{title}</h1>
          <p>{text}</p>
          <Link to="/city" className="button button-ink">
            <ArrowLeft aria-hidden="true" />
            {m.backToCity}
          </Link>
        </div>
      </div>
    </section>
  );
}
