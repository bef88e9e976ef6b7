import { initials } from './people';

export type PersonLamp = 'lit' | 'dim' | 'typing' | 'dark' | 'agent';

/** A person as a window: lit when here, dim when away, warm when typing, dark when gone. */
export function PersonWindow({ name, lamp }: { name: string; lamp: PersonLamp }) {
  return (
    <span className={`person person-${lamp}`} aria-hidden="true">
      {initials(name)}
    </span>
  );
}
