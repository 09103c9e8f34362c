<?php
namespace Pushd;

/**
 * Callbacks are those that a program of Workerman sets on one connection. What has a name
 * is found again: a function or static method is part of the session, a method goes with
 * its object (Props). A closure is of this process alone.
 */
final class Callbacks
{
    const ALL = ['onMessage' => 1, 'onClose' => 1, 'onError' => 1, 'onBufferFull' => 1, 'onBufferDrain' => 1, 'onWebSocketClose' => 1, 'onWebSocketPong' => 1, 'errorHandler' => 1];

    /** Those with a name, in a session. */
    const KEY = 'pushd.callbacks';

    /** What the name of one with an object begins with in Props. */
    const METHOD = "\0";

    /** The program has set one. */
    static function note(int $id, string $name, $f): void
    {
        if (!isset(self::ALL[$name])) {
            return;
        }
        $f = self::named($f);
        $method = self::isMethod($f);
        if (!$method && ($f ?? false) === (Conns::has($id) ? Conns::vars($id)[self::KEY][$name] ?? false : false)) {
            return;
        }
        $vars = &Conns::vars($id);
        Conns::dirty($id);
        if ($f !== null && !$method) {
            $vars[self::KEY][$name] = $f;
            return;
        }
        unset($vars[self::KEY][$name]);
        if (empty($vars[self::KEY])) {
            unset($vars[self::KEY]);
        }
    }

    /** Whether a connection has one that no other process can find. */
    static function areClosures(array $own): bool
    {
        foreach (\array_intersect_key($own, self::ALL) as $f) {
            if (self::named($f) === null) {
                return true;
            }
        }
        return false;
    }

    /** Those with an object, as objects of their own, in which Refs finds it: name in Props => (of, method). */
    static function methods(int $id): array
    {
        $all = [];
        foreach (\array_intersect_key(Conns::own($id), self::ALL) as $name => $f) {
            if (self::isMethod($f = self::named($f))) {
                $all[self::METHOD . $name] = (object)['of' => $f[0], 'method' => $f[1]];
            }
        }
        return $all;
    }

    private static function isMethod($f): bool
    {
        return \is_array($f) && \is_object($f[0]);
    }

    /** A callback as its name, or object and method; null: it has none, or nobody else may call it. */
    private static function named($f)
    {
        if ($f instanceof \Closure) {
            $r = new \ReflectionFunction($f);
            $name = $r->getName();
            if (\strpos($name, '{closure') !== false) {
                return null;
            }
            $of = $r->getClosureThis() ?? (($class = $r->getClosureScopeClass()) ? $class->getName() : null);
            $f = $of === null ? $name : [$of, $name];
        }
        return (\is_string($f) || \is_array($f)) && \is_callable($f) ? $f : null;
    }

    /** The session of a connection has come back. */
    static function restore(int $id, array $vars): void
    {
        foreach ($vars[self::KEY] ?? [] as $name => $f) {
            self::put($id, $name, $f);
        }
    }

    /** A method has come with its object. */
    static function putMethod(int $id, string $name, object $f): void
    {
        self::put($id, $name, [Places::became($f->of ?? null), $f->method]);
    }

    private static function put(int $id, string $name, $f): void
    {
        if (\is_callable($f)) {
            Conns::own($id)[$name] = $f;
            return;
        }
        $shown = \is_string($f) ? $f : (\is_object($f[0]) ? Owners::kind($f[0]) : $f[0] ?? 'object') . "::$f[1]";
        Program::once("callback $shown", "the new code has no $shown, which connections have as their $name: they are closed with 1012");
        Parting::add($id);
    }
}
