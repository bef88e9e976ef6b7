/** One place that speaks HTTP with the city: deadlines, error shape, `Retry-After`. */

export interface FieldError {
  field: string;
  code: string;
}

/** A refusal (status > 0) or no answer at all (status 0: network, deadline). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly fields: readonly FieldError[] = [],
    readonly retryAfterMs: number | null = null,
  ) {
    super(`${status} ${code}`);
    this.name = 'ApiError';
  }

  /** Worth asking again without changing anything. */
  get transient(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

const DEADLINE_MS = 15_000;

interface RequestOptions {
  method?: 'GET' | 'POST';
  body?: unknown;
  token?: string;
  signal?: AbortSignal | undefined;
  /** The request may outlive the page. */
  keepalive?: boolean;
}

function retryAfter(response: Response): number | null {
  const seconds = Number(response.headers.get('Retry-After'));
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : null;
}

async function refusal(response: Response): Promise<ApiError> {
  let code = 'internal';
  const fields: FieldError[] = [];
  try {
    const body = (await response.json()) as { error?: unknown; errors?: unknown };
    if (typeof body.error === 'string') code = body.error;
    if (Array.isArray(body.errors)) {
      for (const entry of body.errors as { field?: unknown; code?: unknown }[]) {
        if (typeof entry.field === 'string' && typeof entry.code === 'string') {
          fields.push({ field: entry.field, code: entry.code });
        }
      }
    }
  } catch {
    // A proxy in between may answer with a page of its own: the status still says enough.
  }
  return new ApiError(response.status, code, fields, retryAfter(response));
}

export async function request<T>(path: string, options: RequestOptions = {}): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (options.body !== undefined) headers['Content-Type'] = 'application/json';
  if (options.token !== undefined) headers.Authorization = `Bearer ${options.token}`;
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  let response: Response;
  try {
    response = await fetch(path, {
      method: options.method ?? 'GET',
      headers,
      // A balancer knows the browser by its cookie: what it writes and what it reads meet at one replica.
      credentials: 'same-origin',
      keepalive: options.keepalive ?? false,
      signal: options.signal ? AbortSignal.any([options.signal, deadline]) : deadline,
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    });
  } catch (cause) {
    if (options.signal?.aborted) throw cause;
    throw new ApiError(0, 'network');
  }
  if (!response.ok) throw await refusal(response);
  try {
    return (await response.json()) as T;
  } catch {
    throw new ApiError(0, 'network');
  }
}
