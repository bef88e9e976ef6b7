/** Word forms by the rules of the language, not by guesses: 1 людина, 2 людини, 5 людей. */

export type Locale = 'uk' | 'en';

export interface Forms {
  one: string;
  few?: string;
  many?: string;
  other: string;
}

const rules: Record<Locale, Intl.PluralRules> = {
  uk: new Intl.PluralRules('uk'),
  en: new Intl.PluralRules('en'),
};

export function plural(locale: Locale, count: number, forms: Forms): string {
  switch (rules[locale].select(count)) {
    case 'one':
      return forms.one;
    case 'few':
      return forms.few ?? forms.other;
    case 'many':
      return forms.many ?? forms.other;
    default:
      return forms.other;
  }
}
