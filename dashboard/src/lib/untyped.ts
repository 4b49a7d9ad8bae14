import { raw } from './api';
export const get = <T>(path: string): Promise<T> => raw<T>('GET', path);
export const post = <T>(path: string, body?: unknown): Promise<T> => raw<T>('POST', path, body);
export const patch = <T>(path: string, body: unknown): Promise<T> => raw<T>('PATCH', path, body);
export const remove = <T>(path: string): Promise<T> => raw<T>('DELETE', path);
