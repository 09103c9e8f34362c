<?php
namespace Pushd;

/**
 * Living are objects with a destructor that live on, in the next process, or in the one of the
 * new code that they went into. Their destructors have nothing to do here: they are kept, empty,
 * until the process ends, and then it ends without them. Those of all other objects run before.
 */
final class Living
{
    private static $kept = [];
    private static $seen = []; // object id => true

    /** @param array $classes name => anything */
    static function are(array $classes): bool
    {
        foreach ($classes as $class => $_) {
            if (\method_exists((string)$class, '__destruct')) {
                return true;
            }
        }
        return false;
    }

    /** Keeps those in it. @param ?array $ids object id => anything, null for all */
    static function keep($v, ?array $ids = null): void
    {
        $before = \count(self::$kept);
        self::$seen = [];
        self::in($v, $ids);
        self::$seen = [];
        if ($before === 0 && self::$kept) {
            \register_shutdown_function([self::class, 'last']);
        }
    }

    private static function in($v, ?array $ids): void
    {
        if (\is_object($v)) {
            $id = \spl_object_id($v);
            if (isset(self::$seen[$id]) || ($inside = Carry::contents($v)) === null) {
                return;
            }
            self::$seen[$id] = true;
            if (\method_exists($v, '__destruct') && ($ids === null || isset($ids[$id]))) {
                self::$kept[] = $v;
            }
            $v = $v instanceof Part ? $v->values : $inside;
        }
        foreach (\is_array($v) ? $v : [] as $x) {
            self::in($x, $ids);
        }
    }

    /** They have nothing any more, but what is readonly. @return array the connections in that: number => true */
    static function clear(): array
    {
        $ids = [];
        foreach (self::$kept as $o) {
            Lists::is($o) && Lists::fill($o, []);
            for ($r = new \ReflectionObject($o); $r; $r = $r->getParentClass()) {
                \Closure::bind(static function () use ($o): void {
                    foreach (\get_object_vars($o) as $name => $_) {
                        try {
                            unset($o->$name);
                        } catch (\Error $e) { // readonly
                        }
                    }
                }, null, $r->isInternal() ? null : $r->getName())();
            }
            self::$seen = [];
            self::held(Carry::contents($o), $ids);
        }
        self::$seen = [];
        return $ids;
    }

    private static function held($v, array &$ids): void
    {
        if (\is_object($v)) {
            if (Conns::isOne($v)) {
                $ids[$v->pushdId()] = true;
            }
            if (isset(self::$seen[$id = \spl_object_id($v)]) || ($v = Carry::contents($v)) === null) {
                return;
            }
            self::$seen[$id] = true;
        }
        foreach (\is_array($v) ? $v : [] as $x) {
            self::held($x, $ids);
        }
    }

    /** The last that the process does before PHP would run their destructors: those of all others run. */
    static function last(): void
    {
        $GLOBALS['pushd last'] = new self(); // PHP begins with what only a global has
        Timers::clear();
        foreach (\array_keys($GLOBALS) as $name) {
            if ($name !== 'GLOBALS' && $name !== 'pushd last') {
                self::run(static function () use ($name): void {
                    unset($GLOBALS[$name]);
                });
            }
        }
        $classes = \preg_grep('~^(?:Pushd|Composer)\\\\~', \get_declared_classes(), \PREG_GREP_INVERT);
        foreach (\array_merge($classes, \array_filter(\get_declared_classes(), static function (string $class): bool {
            return \is_subclass_of($class, Program::class);
        })) as $class) {
            $r = new \ReflectionClass($class);
            foreach ($r->isUserDefined() ? $r->getProperties(\ReflectionProperty::IS_STATIC) : [] as $p) {
                self::run(static function () use ($p): void {
                    self::none($p);
                });
            }
        }
        self::run('gc_collect_cycles');
    }

    private static function run(callable $f): void
    {
        try {
            $f();
        } catch (\Throwable $e) { // of a destructor
            Program::uncaught($e);
        }
    }

    private static function none(\ReflectionProperty $p): void
    {
        $p->setAccessible(true);
        foreach ([null, []] as $none) {
            try {
                $p->setValue(null, $none);
                return;
            } catch (\TypeError $e) { // it is of another type
            }
        }
    }

    /** No destructor runs after an exit in one. */
    public function __destruct()
    {
        exit(0);
    }
}
