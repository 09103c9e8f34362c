<?php
namespace Pushd;

/**
 * Gone are objects that were carried and that this code cannot have: their class is not there
 * any more, or a property of it is of another type, or an enum lacks the case. They alone are
 * left out, as unserialize leaves out a class that it may not make, and who is in them is closed.
 */
final class Gone
{
    const MOST = 50; // classes of one text

    private static $why = [];  // class, in small letters => what unserialize said of it
    private static $seen = []; // object id => true
    private static $bare = []; // class, in small letters => true: its __wakeup refuses, and its objects are made without it
    private static $made = []; // object id of what unserialize made for one of those => [that, the object or null]
    private static $found;     // so many have been left out, or made
    private static $left;      // those that have been left out
    private static $ends = true; // who is in one is closed
    private static $others = []; // object id => why: those that unserialize could make

    /** All of a text that can be had; throws where unserialize does not say which class it is. */
    static function read(string $text): array
    {
        return Link::unsaid(static function () use ($text): array { // where it fails, destructors run of what it had made
            try {
                return self::tries($text);
            } finally {
                self::$why && \gc_collect_cycles();
            }
        });
    }

    private static function tries(string $text): array
    {
        self::$why = self::$bare = [];
        for ($i = 0; $i < self::MOST; $i++) {
            $said = null;
            $all = self::unserialize($text, $said);
            if (\is_array($all)) {
                return $all;
            }
            if (!self::without($text, $said)) {
                break;
            }
        }
        throw new \Exception($said instanceof \Throwable ? $said->getMessage() : (string)$said);
    }

    /** @param \Throwable|string|null $said why there is nothing */
    private static function unserialize(string $text, &$said)
    {
        \set_error_handler(static function (int $level, string $message) use (&$said): bool {
            $is = \strncmp($message, 'unserialize(): ', 15) === 0;
            $said = $is && $said === null ? \substr($message, 15) : $said;
            return $is;
        });
        $turn = Conns::turn();
        try {
            $classes = self::$why ? ['allowed_classes' => \array_values(\array_filter(self::classes($text), static function (string $class) {
                return !isset(self::$why[\strtolower($class)]);
            }))] : [];
            $all = \unserialize($text, $classes);
            if (\is_array($all)) {
                return $all;
            }
        } catch (\Throwable $e) {
            $said = $e;
        } finally {
            \restore_error_handler();
        }
        Conns::turn($turn);
        return null;
    }

    private static function classes(string $text): array
    {
        \preg_match_all('/[OC]:\d+:"([\w\\\\\x7f-\xff]+)":/', $text, $m);
        return \array_unique($m[1]);
    }

    /** The next one to read it does without what this one could not make; false: it would be none the wiser. */
    private static function without(string &$text, $said): bool
    {
        $message = $said instanceof \Throwable ? $said->getMessage() : (string)$said;
        if (\preg_match("/^(?:Undefined constant |Class ['\"])([\w\\\\\x7f-\xff]+)/", $message, $m)) { // an enum: unserialize makes each or fails
            $text = \preg_replace_callback('/E:\d+:"(' . \preg_quote($m[1]) . ':\w+)";/i', static function (array $m) use ($message) {
                $name = \str_replace(':', '\\', $m[1]);
                self::$why[\strtolower($name)] = $message;
                return 'O:' . \strlen($name) . ":\"$name\":0:{}";
            }, $text, -1, $n);
            return $n > 0;
        }
        $class = \preg_match('/ property ([^\s:]+)::(\$\w+)/', $message, $m) ? $m[1] : self::thrower($said);
        if ($m && \strpos($message, '__PHP_Incomplete_Class') !== false) {
            $message = "the new code does not have what its $m[2] was";
        }
        $bare = $m ? self::$bare && !\method_exists($class, '__wakeup') : self::thrower($said, ['__wakeup']) !== '';
        $new = self::ofOthers($text, $m ? '' : $class);
        foreach ($new || $class === '' || \strncmp($class, 'Pushd\\', 6) === 0 ? [] : self::classes($text) as $one) {
            if (\is_a($one, $class, true)) {
                $new[\strtolower($one)] = $message;
                $bare && !self::restores($one) && self::$bare[\strtolower($one)] = true;
            }
        }
        $bare && !$m && self::$bare && Program::once("bare $class", "$class was made without its __wakeup, as that says: $message");
        $n = \count(self::$why);
        self::$why += $new;
        return \count(self::$why) > $n;
    }

    /** Those whose objects were no collection of PHP's, or another one: $class is PHP's own, and would not have what they had. */
    private static function ofOthers(string $text, string $class): array
    {
        $new = [];
        $form = $class === 'SplObjectStorage' ? '2:\{i:0;a:' : '[34]:\{i:0;i:';
        foreach (isset(Lists::PARTS[$class]) ? self::classes($text) : [] as $one) {
            if (\is_subclass_of($one, $class) && !\preg_match('/O:\d+:"' . \preg_quote($one) . "\":$form/", $text)) {
                $new[\strtolower($one)] = "$one is a kind of $class in the new code, and was none";
            }
        }
        return \array_diff_key($new, self::$why);
    }

    /** Whether a class says itself what is written of it: what its __wakeup does has to be done. */
    private static function restores(string $class): bool
    {
        return \method_exists($class, '__sleep') || \method_exists($class, '__serialize') || \method_exists($class, '__unserialize');
    }

    /** The class whose own code has thrown as it was to be made. */
    private static function thrower($e, array $in = ['__unserialize', '__wakeup', 'unserialize']): string
    {
        foreach ($e instanceof \Throwable ? $e->getTrace() : [] as $frame) {
            if (\in_array($frame['function'], $in, true)) {
                return $frame['class'] ?? '';
            }
        }
        return '';
    }

    /** Takes them out of place => name => value; where a connection had one, it is closed. @param array $others object id => why it is to go, too; @param bool $ends whether who is in one is closed */
    static function out(array &$all, array $others = [], bool $ends = true): void
    {
        self::$ends = $ends;
        self::$others = $others;
        self::$seen = self::$made = [];
        self::$found = 0;
        self::$left = [];
        foreach ($all as $place => $values) {
            foreach ($values as $name => $value) {
                $n = self::$found;
                $left = \count(self::$left);
                $id = $place === Props::PLACE ? (int)$name : 0;
                if (self::in($value, '$' . ($id ? \explode(' ', $name, 2)[1] : $name))) {
                    unset($all[$place][$name]);
                } elseif (self::$found > $n) {
                    $all[$place][$name] = $value;
                }
                $ends && $id && \count(self::$left) > $left && Parting::add($id);
            }
        }
        $ends && self::$left && Lost::leaves(...self::$left); // at once: many may know each other
        self::$seen = self::$others = self::$made = self::$left = [];
    }

    /** Whether a value is one; those that are in it are taken out of it. */
    private static function in(&$v, string $shown, bool $list = false): bool
    {
        if ($v instanceof \__PHP_Incomplete_Class) {
            $class = (string)((array)$v)['__PHP_Incomplete_Class_Name'];
            if (isset(self::$bare[\strtolower($class)]) && $o = self::made($v, $class, $shown)) {
                $v = $o;
                self::$found++;
                return false;
            }
            self::leave($v, $class, $shown, self::$why[\strtolower($class)] ?? "the new code has no class $class");
            return true;
        }
        if (\is_object($v) && isset(self::$others[\spl_object_id($v)])) {
            self::leave($v, Owners::kind($v), $shown, self::$others[\spl_object_id($v)]);
            return true;
        }
        if (\is_array($v)) {
            $n = \count($v);
            self::ofArray($v, $shown);
            if ($list && !self::$ends && \count($v) < $n && self::isRecord($v)) { // ['user' => …, 'since' => …]
                self::$found++;
                return true;
            }
        } elseif (\is_object($v) && !isset(self::$seen[\spl_object_id($v)])) {
            self::$seen[\spl_object_id($v)] = true;
            self::ofObject($v, $shown);
        }
        return false;
    }

    /** What unserialize could not make, with all that it had; null: it cannot have that. */
    private static function made(object $v, string $class, string $shown): ?object
    {
        if (isset(self::$made[$id = \spl_object_id($v)])) {
            return self::$made[$id][1];
        }
        $o = (new \ReflectionClass($class))->newInstanceWithoutConstructor();
        self::$made[$id] = [$v, $o];
        self::$seen[\spl_object_id($o)] = true;
        foreach (\array_diff_key((array)$v, ['__PHP_Incomplete_Class_Name' => 1]) as $key => $x) {
            if (!Became::assign($o, (string)$key, self::in($x, $shown) ? null : $x)) {
                Living::keep($o);
                return self::$made[$id][1] = null;
            }
        }
        return $o;
    }

    private static function leave(object $v, string $class, string $shown, string $why): void
    {
        self::$found++;
        self::$left[] = $v;
        self::$ends && Program::once("gone $class $shown", "objects of $class in $shown were not taken over, and those who were in them are closed with 1012: $why");
    }

    /** Whether an array has what is no object by names: nobody can use it without one of the others. */
    private static function isRecord(array $v): bool
    {
        return \is_string(\array_key_first($v)) && \array_filter($v, 'is_object') !== $v;
    }

    private static function ofArray(array &$list, string $shown): void
    {
        $count = \count($list);
        $dense = !self::$ends && $list && \array_key_last($list) === $count - 1 && \array_key_first($list) === 0;
        foreach ($list as $k => $x) {
            $n = self::$found;
            if (self::in($x, $shown, true)) {
                unset($list[$k]);
                self::$ends && Carry::end([$k => 0], 1);
            } elseif (self::$found > $n) {
                $list[$k] = $x;
            }
        }
        if ($dense && \count($list) < $count) {
            $list = \array_values($list);
        }
    }

    private static function ofObject(object $v, string $shown): void
    {
        if ($v instanceof Part) {
            self::ofArray($v->values, $shown);
            $v->class === 'WeakMap' && self::unpaired($v->values);
            return;
        }
        $inside = Carry::contents($v);
        if ($v instanceof \WeakMap) {
            self::ofMap($v, $inside, $shown);
        } elseif ($v instanceof \SplObjectStorage) {
            self::ofStorage($v, Lists::contents($v), $shown);
        } elseif (($list = Lists::contents($v)) !== null) {
            self::ofList($v, $list, $shown);
        }
        foreach ($inside !== null && Places::ofProgram($v) ? Places::vars($v) : [] as $key => $x) {
            $n = self::$found;
            $was = $x;
            $is = self::in($x, $shown);
            try {
                if ($is) {
                    self::less($v, \substr((string)$key, (int)\strrpos("\0$key", "\0")));
                } elseif (self::$found > $n && (\is_array($x) || $x !== $was)) {
                    Became::assign($v, (string)$key, $x);
                }
            } catch (\Throwable $e) { // readonly: those in it are closed
            }
        }
    }

    /** A property has nothing: one that may not be null is as before the constructor. */
    private static function less(object $o, string $name): void
    {
        for ($r = new \ReflectionObject($o); $r && !$r->hasProperty($name);) {
            $r = $r->getParentClass();
        }
        $type = $r ? $r->getProperty($name)->getType() : null;
        if (!$type || $type->allowsNull()) {
            Became::assign($o, $name, null); // not into it: what is in the property stays as it is
            return;
        }
        \Closure::bind(static function () use ($o, $name): void {
            unset($o->$name);
        }, null, $r->getName())();
    }

    /** @param array $inside [key, value] of each */
    private static function ofMap(\WeakMap $v, array $inside, string $shown): void
    {
        foreach ($inside as [$key, $x]) {
            $n = self::$found;
            if (self::in($x, $shown)) {
                unset($v[$key]);
                self::$ends && Carry::end($key, 1);
            } elseif (self::$found > $n) {
                $v[$key] = $x;
            }
        }
    }

    /** @param array $inside object, what is filed with it, the next object … */
    private static function ofStorage(\SplObjectStorage $v, array $inside, string $shown): void
    {
        $n = self::$found;
        $rest = [];
        foreach (\array_chunk($inside, 2) as [$o, $with]) {
            $is = self::in($o, $shown);
            if (self::in($with, $shown, true) || $is) {
                self::$left[] = [$o, $with];
            } else {
                \array_push($rest, $o, $with);
            }
        }
        self::$found === $n || Lists::fill($v, $rest); // detach of many, the first first, takes PHP time by the square of their number
    }

    private static function ofList(object $v, array $inside, string $shown): void
    {
        $n = self::$found;
        self::ofArray($inside, $shown);
        self::$found === $n || Lists::fill($v, $inside);
    }

    /** Of a map, pairs of which one half is left. */
    private static function unpaired(array &$pairs): void
    {
        foreach ($pairs as $k => $pair) {
            if (\count($pair) < 2) {
                self::$ends && Carry::end($pair, 1);
                unset($pairs[$k]);
            }
        }
    }
}
