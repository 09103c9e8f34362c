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

    const SECURE = ['wss' => 'websocket', 'https' => 'http'];

    /** The same of one that is listened on: TLS is no protocol there. */
    static function unheard(string $scheme): string
    {
        $plain = self::SECURE[\strtolower($scheme)] ?? null;
        return $plain === null ? self::missing($scheme)
            : "a Worker of $plain:// is behind TLS with \$worker->transport = 'ssl' and ['ssl' => ['local_cert' => 'cert.pem', 'local_pk' => 'key.pem']] as its second argument";
    }

    /** A certificate is of no use where the transport is another: what was meant to be TLS is in the clear. */
    static function warn(string $name, string $transport, array $context): void
    {
        if ($transport !== 'ssl' && isset($context['ssl']['local_cert'])) {
            Program::once("clear $name", "$name has a certificate, and its clients come in the clear: \$worker->transport = 'ssl' is missing");
        }
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
