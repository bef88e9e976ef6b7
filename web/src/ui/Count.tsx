import { useLocale } from '../i18n/i18n';

/** A number that changes in place: same width for every digit, grouped by the language. */
export function Count({ value }: { value: number }) {
  const locale = useLocale();
  return <span className="count">{value.toLocaleString(locale)}</span>;
}
