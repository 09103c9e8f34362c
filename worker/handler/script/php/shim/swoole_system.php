<?php
namespace Swoole\Coroutine;

use Pushd\Fibers;

class Scheduler
{
    private $tasks = [];

    public function add($f, ...$args)
    {
        $this->tasks[] = [$f, $args];
    }

    public function parallel($n, $f, ...$args)
    {
        for ($i = 0; $i < $n; $i++) {
            $this->add($f, ...$args);
        }
    }

    public function set(array $options)
    {
        return \Swoole\Coroutine::set($options);
    }

    public function getOptions()
    {
        return \Swoole\Coroutine::getOptions();
    }

    /** Outside of a callback it comes back when all have ended. */
    public function start()
    {
        foreach ($this->tasks as [$f, $args]) {
            \Swoole\Coroutine::create($f, ...$args);
        }
        $this->tasks = [];
        if (\Pushd\Program::$serving !== null || Fibers::current() !== null || Fibers::drain()) {
            return true;
        }
        \trigger_error('all coroutines (count: ' . \count(Fibers::all()) . ') are asleep - deadlock!', \E_USER_WARNING);
        return false;
    }
}

/** System is what waits for the system: a sleep and a command let others run, files and names do not. */
class System
{
    public static function sleep($seconds)
    {
        return \Swoole\Coroutine::sleep($seconds);
    }

    /** @return array|false ['code' => …, 'signal' => …, 'output' => …] */
    public static function exec($command, $errors = true)
    {
        $p = \proc_open(['/bin/sh', '-c', $errors ? "exec 2>&1; $command" : $command], [1 => ['pipe', 'w']], $pipes);
        if (!$p) {
            return false;
        }
        \stream_set_blocking($pipes[1], false);
        for ($output = ''; !\feof($pipes[1]);) {
            $piece = (string)\fread($pipes[1], 65536);
            $output .= $piece;
            if ($piece === '' && !\feof($pipes[1])) {
                Fibers::ready($pipes[1], false);
            }
        }
        \fclose($pipes[1]);
        return ['code' => \proc_close($p), 'signal' => 0, 'output' => $output];
    }

    public static function readFile($file, $flags = 0)
    {
        return @\file_get_contents($file);
    }

    public static function writeFile($file, $data, $flags = 0)
    {
        return @\file_put_contents($file, $data, $flags & \FILE_APPEND);
    }

    public static function fread($stream, $length = 0)
    {
        return $length > 0 ? \fread($stream, $length) : \stream_get_contents($stream);
    }

    public static function fgets($stream)
    {
        return \fgets($stream);
    }

    public static function fwrite($stream, $data, $length = null)
    {
        return \fwrite($stream, $length === null ? $data : \substr($data, 0, $length));
    }

    public static function gethostbyname($name, $family = 2, $timeout = -1)
    {
        $ip = \gethostbyname($name);
        return \filter_var($ip, \FILTER_VALIDATE_IP) ? $ip : false;
    }

    public static function getaddrinfo($name, $family = 2, $type = 1, $protocol = 6, $service = '', $timeout = -1)
    {
        return \gethostbynamel($name);
    }

    public static function dnsLookup($name, $timeout = 60, $type = 2)
    {
        return self::gethostbyname($name);
    }
}
