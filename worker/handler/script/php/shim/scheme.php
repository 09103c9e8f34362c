<?php
namespace Pushd;

/** Scheme is what an address of Workerman begins with where that is no transport: a protocol, by its class. */
final class Scheme
{
    /** The class of it; null: there is none. */
    static function protocol(string $scheme): ?string
    {
        return self::own($scheme) ?? self::workermans($scheme);
    }

    static function workermans(string $scheme): ?string
    {
        return self::in('Workerman\Protocols', $scheme);
    }

    /** The program's own; in Workerman 3 and 4 the scheme may be the class itself, `\App\Lines`. */
    static function own(string $scheme): ?string
    {
        if (\strncmp($scheme, '\\', 1) === 0) {
            return \class_exists($scheme) ? $scheme : null;
        }
        return self::in('Protocols', $scheme);
    }

    /** What is not there, for people. */
    static function missing(string $scheme): string
    {
        return 'class ' . (\strncmp($scheme, '\\', 1) === 0 ? $scheme : 'Protocols\\' . \ucfirst($scheme)) . ' is not there';
    }

    /** As the scheme is written, since loaders of files mind the case, or as the class of `WebSocket://` is. */
    private static function in(string $namespace, string $scheme): ?string
    {
        foreach (\array_unique([\ucfirst($scheme), \ucfirst(\strtolower($scheme))]) as $name) {
            if (\class_exists("$namespace\\$name")) {
                return "$namespace\\$name";
            }
        }
        return null;
    }
}
