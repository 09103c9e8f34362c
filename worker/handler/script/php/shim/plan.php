<?php
namespace Pushd;

/**
 * Plan is the run of a program in which it says what it would listen on, and
 * does nothing: `pushd php FILE start` does it first, and so does each reload. What
 * comes back on descriptor 3 is one object of JSON.
 */
final class Plan
{
    const CALLS = 'stream_socket_server,socket_bind,socket_listen,socket_create_listen,pcntl_fork';

    private static $said = false;

    static function begin(): void
    {
        require __DIR__ . '/calls.php';
        \set_error_handler(static function ($no, $text) { // PHP 7.4 has its own word for a call that is switched off
            if (\preg_match('/^(\w+)\(\) has been disabled/', $text, $m) && \in_array($m[1], \explode(',', self::CALLS), true)) {
                self::opens($m[1]);
            }
            return false;
        });
        \register_shutdown_function(static function () {
            if (self::$said) {
                return;
            }
            $e = \error_get_last();
            if ($e && $e['type'] & (\E_ERROR | \E_PARSE | \E_CORE_ERROR | \E_COMPILE_ERROR | \E_USER_ERROR)) {
                $text = (string)\strtok($e['message'], "\n"); // what was thrown says where itself
                self::say(['error' => $text . (\strpos($text, " in $e[file]") === false ? " in $e[file]:$e[line]" : '') . Names::hint($text)]);
            }
            self::say(['error' => 'the file came to its end without Worker::runAll(), $app->run() or $server->start()', 'ended' => true]);
        });
        foreach (['swoole', 'openswoole'] as $ext) {
            if (\extension_loaded($ext)) { // its classes would be in the way of ours
                self::say(['extension' => $ext, 'ini' => \php_ini_loaded_file() ?: '', 'scanned' => (string)\php_ini_scanned_files()]);
            }
        }
    }

    /** What the ini files switch off (disable_functions): this run has a list of its own. */
    private static function off(): string
    {
        $off = '';
        foreach (\explode(',', \php_ini_loaded_file() . ',' . \php_ini_scanned_files()) as $file) {
            $ini = ($file = \trim($file)) !== '' ? @\parse_ini_file($file, false, \INI_SCANNER_RAW) : false;
            $off = $ini['disable_functions'] ?? $off;
        }
        return $off;
    }

    /** The program would open a socket of its own. */
    static function opens(string $call): void
    {
        $at = Names::caller(\debug_backtrace(\DEBUG_BACKTRACE_IGNORE_ARGS));
        self::say(['opens' => $call, 'at' => "$at[file]:$at[line]"]);
    }

    /** Says the plan, and ends the run. */
    static function say(array $plan): void
    {
        self::$said = true;
        @\file_put_contents('php://fd/3', \json_encode(['version' => 1] + $plan, \JSON_PARTIAL_OUTPUT_ON_ERROR | \JSON_UNESCAPED_SLASHES | \JSON_UNESCAPED_UNICODE));
        exit(0);
    }

    /**
     * Names of the groups, all different and as pushd allows them: the same in the plan and in a
     * handler. A reload gives the clients of a group to the one that has its name then, so of
     * several with one name each has its port in it: their order may change.
     */
    static function names(array $groups): array
    {
        $file = \get_cfg_var('pushd.name') ?: \basename($_SERVER['SCRIPT_FILENAME'] ?? 'php', '.php');
        $wanted = $names = $ports = [];
        foreach ($groups as $i => $group) {
            $wanted[$i] = self::allowed($group['name'] === '' || $group['name'] === 'none' ? $file : $group['name']);
            $group['listen'] && $ports[$wanted[$i]][] = self::port($group['listen'][0]);
        }
        \uksort($wanted, static function ($i, $j) use ($groups) { // who has clients is not numbered
            return [!$groups[$i]['listen'], $i] <=> [!$groups[$j]['listen'], $j];
        });
        foreach ($wanted as $i => $name) {
            if ($groups[$i]['listen'] && \count($ports[$name]) > 1) {
                $port = self::port($groups[$i]['listen'][0]);
                $name = self::allowed(\substr($name, 0, 24) . '-' . (\array_count_values($ports[$name])[$port] > 1 ? $groups[$i]['listen'][0] : $port));
            }
            $unique = $name;
            for ($n = 2; \in_array($unique, $names, true) || !$groups[$i]['listen'] && isset($ports[$unique]); $n++) {
                $unique = "$name-$n";
            }
            $names[$i] = $unique;
        }
        return $names;
    }

    private static function allowed(string $name): string
    {
        return \substr(\trim((string)\preg_replace('/[^A-Za-z0-9._-]+/', '-', $name), '-'), 0, 56) ?: 'php';
    }

    /** What an address ends with: a port, or the name of a socket's file. */
    private static function port(string $address): string
    {
        return (string)\preg_replace('~^.*[:/]~', '', $address);
    }

    /**
     * What each kind of server does in its run(): a plan run says the groups, a
     * handler serves its own, a hand-typed run becomes pushd. $groups is a list of
     * ['name' =>, 'listen' => [], 'count' =>, …], $make gives the Program of one.
     */
    static function start(string $kind, array $groups, array $more, callable $make): void
    {
        foreach (self::names($groups) as $i => $name) {
            $groups[$i]['name'] = $name;
        }
        if (ROLE === 'plan') {
            self::say(['kind' => $kind, 'groups' => $groups, 'php' => \PHP_VERSION_ID, 'off' => self::off()] + $more);
        }
        if (ROLE !== 'handler') {
            self::become($kind);
        }
        Link::open();
        self::compare($groups);
        foreach ($groups as $i => $group) {
            if ($group['name'] === (Link::$config['worker'] ?? '')) {
                if (($group['error'] ?? '') !== '') { // it was changed after its plan
                    \Pushd\say('pushd: ' . ($_SERVER['SCRIPT_FILENAME'] ?? '') . ": $group[error]\n");
                    exit(1);
                }
                Program::serve($make($i, (int)(Link::$config['slot'] ?? 0)));
            }
        }
        \Pushd\say('pushd: ' . ($_SERVER['SCRIPT_FILENAME'] ?? '') . ' has nothing named "' . (Link::$config['worker'] ?? '') . "\" any more: `reload` of all of pushd takes over new names and addresses\n");
        exit(1);
    }

    /** A program that was changed and replaced by itself serves as before: what it declares anew is said, once. */
    private static function compare(array $groups): void
    {
        $served = \json_decode((string)\getenv('SERVED_BY_PUSHD'), true);
        if (!$served || $served[0]['name'] !== (Link::$config['worker'] ?? '') || (Link::$config['slot'] ?? 0) !== 0) {
            return; // another process says it
        }
        $served = self::declared($served);
        $now = self::declared($groups);
        foreach (\array_diff_assoc($now, $served) as $name => $what) {
            $before = isset($served[$name]) ? "is served as $served[$name] still" : 'is not served yet';
            \Pushd\say("pushd: \"$name\" is $what now, and $before: `reload` takes it over\n");
        }
        foreach (\array_diff_key($served, $now) as $name => $what) {
            \Pushd\say("pushd: \"$name\", $what, is not in the program any more, and is served still: `reload` ends it\n");
        }
    }

    /** Name => addresses and count, for people. */
    private static function declared(array $groups): array
    {
        $all = [];
        foreach ($groups as $group) {
            $all[$group['name']] = (\implode(', ', $group['listen']) ?: 'without an address') . ($group['count'] > 1 ? " × $group[count]" : '');
        }
        return $all;
    }

    /** `php start.php start` by hand: this process becomes `pushd php start.php start`. */
    private static function become(string $kind): void
    {
        $pushd = \defined('PUSHD_BINARY') ? \constant('PUSHD_BINARY') : '';
        $args = $_SERVER['argv'] ?? [];
        \array_shift($args);
        $file = \defined('PUSHD_FILE') ? \constant('PUSHD_FILE') : (string)\realpath($_SERVER['SCRIPT_FILENAME']);
        if (!\function_exists('pcntl_exec')) {
            \Pushd\say("pushd: this PHP has no pcntl_exec: type `$pushd php $file " . \implode(' ', $args) . "`\n");
            exit(1);
        }
        \pcntl_exec($pushd, \array_merge(['php', $file], $args));
        \Pushd\say("pushd: $pushd cannot be run: " . \pcntl_strerror(\pcntl_get_last_error()) . " (`pushctl php --install` again?)\n");
        exit(1);
    }
}
