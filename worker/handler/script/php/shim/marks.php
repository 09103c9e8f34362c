<?php
namespace Pushd;

/**
 * Marks are what an object that the start made has beside other objects, in one number, so
 * that a reload can name those that callbacks have changed and that are not carried: a game
 * by names, a history, a queue. Looked at are Made's objects, and of each the first values.
 */
final class Marks
{
    const MOST = 100;   // values of one object or array that are looked at; of all it counts how many there are
    const BYTES = 1024; // of a text

    private static $objects = [];   // object id => mark
    private static $ofProgram = []; // class => whether it is
    private static $values = [];    // place => name => mark of an array with objects, or of a large one, or the kind of an object

    /** The program's start is over, and Made knows what it has made. */
    static function begin(array $roots): void
    {
        foreach (Made::rest() as $id => $o) {
            if (self::isState($o)) {
                self::$objects[$id] = self::ofObject($o);
            }
        }
        foreach (Places::all($roots) as $place => $values) {
            foreach ($values as $name => $v) {
                if (!Plain::is($v) && ($mark = self::of($v)) !== null) {
                    self::$values[$place][$name] = $mark;
                }
            }
        }
    }

    /** Whether callbacks have changed what is in a place, beside the objects that the start has made. @param mixed $was what was there, if that was plain */
    static function isChanged(string $place, string $name, $was, $v): bool
    {
        if (isset(self::$values[$place][$name])) {
            return self::of($v) !== self::$values[$place][$name];
        }
        return \is_array($was) && \is_array($v); // it was plain, and has grown
    }

    /** The objects that are changed, by where they are, and that no carried value has. */
    static function changed(array $roots, int $most): array
    {
        $names = [];
        foreach (Made::rest() as $id => $o) {
            if (isset(self::$objects[$id]) && self::ofObject($o) !== self::$objects[$id]) {
                $names[self::shown($roots, Made::paths($o)[0])] = true;
                if (\count($names) >= $most) {
                    break;
                }
            }
        }
        return $names;
    }

    /** Whether what is in an object is the program's: of a class of its own, of none, or a collection of PHP's. */
    private static function isState(object $o): bool
    {
        return Carry::contents($o) !== null && (self::$ofProgram[$class = \get_class($o)] ?? self::$ofProgram[$class] = self::isOf(new \ReflectionClass($o)));
    }

    private static function isOf(\ReflectionClass $class): bool
    {
        $file = (string)$class->getFileName(); // '' of PHP's own
        return \strpos($file, '/vendor/') === false && \strncmp($file, __DIR__ . '/', \strlen(__DIR__) + 1) !== 0;
    }

    private static function ofObject(object $o): int
    {
        $left = self::MOST;
        return \crc32(self::text($o instanceof \Traversable ? Made::inside($o) : (array)$o, $left));
    }

    /** Of an array the mark of what is in it, of an object which one of the start's it is. */
    private static function of($v): ?string
    {
        $left = self::MOST;
        return \is_array($v) ? 'array ' . \crc32(self::text($v, $left)) : (\is_object($v) && !Conns::isOne($v) ? self::text($v, $left) : null);
    }

    private static function text($v, int &$left): string
    {
        if (\is_string($v)) {
            return \strlen($v) . '"' . \substr($v, 0, self::BYTES);
        }
        if (\is_object($v)) {
            return Made::has($v) ? '#' . \spl_object_id($v) : '+' . \get_class($v);
        }
        if (!\is_array($v)) {
            return \is_resource($v) ? 'r' : \gettype($v) . \json_encode($v, \JSON_PARTIAL_OUTPUT_ON_ERROR);
        }
        $text = \count($v) . '[';
        foreach ($v as $k => $x) {
            if (--$left < 0) {
                break;
            }
            $text .= "$k=" . (\is_int($x) ? $x : self::text($x, $left)) . "\n";
        }
        return $text . ']';
    }

    /** A path as people write it: $app->routes[/chat]. */
    private static function shown(array $roots, string $path): string
    {
        $keys = \explode("\0", $path);
        $place = \array_shift($keys);
        $name = \array_shift($keys);
        $text = (\strncmp($place, '::', 2) === 0 ? \substr($place, 2) . '::$' : '$') . $name;
        $v = Places::get($roots, $place, $name);
        foreach ($keys as $k) {
            $text .= \is_object($v) && Places::ofProgram($v) ? "->$k" : '[' . (\strncmp($k, '#', 1) === 0 ? '…' : $k) . ']';
            $v = Made::within($v)[$k] ?? null;
        }
        return $text;
    }
}
