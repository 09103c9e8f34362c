<?php
namespace Pushd {

    /** Head gives callbacks of a handshake its request, as Workerman 3, 4 and 5 do. */
    final class Head
    {
        /** $connection->headers as lines of the answer; a protocol that the client has not offered would end it. */
        static function lines(array $headers, string $head): string
        {
            $lines = '';
            foreach ($headers as $name => $values) {
                foreach ((array)$values as $value) {
                    $line = \str_replace(["\r", "\n"], '', \is_int($name) ? (string)$value : "$name: $value");
                    [$name1, $value1] = \explode(':', $line, 2) + [1 => ''];
                    $offers = '/^Sec-WebSocket-Protocol:(?:.*,)?[ \t]*' . \preg_quote(\trim($value1), '/') . '[ \t]*(?:,.*)?\r?$/mi';
                    if (\strcasecmp(\trim($name1), 'Sec-WebSocket-Protocol') !== 0 || \preg_match($offers, $head)) {
                        $lines .= "$line\r\n";
                    }
                }
            }
            return $lines;
        }

        static function request($c, string $head)
        {
            $request = new \Workerman\Protocols\Http\Request($head);
            $_GET = $_COOKIE = [];
            $_SERVER = \array_filter($_SERVER, static function ($name) {
                return \strncmp((string)$name, 'HTTP_', 5) !== 0;
            }, \ARRAY_FILTER_USE_KEY);
            [$method, $uri] = \explode(' ', $head, 3) + [1 => '/'];
            \parse_str((string)\parse_url('http://x' . $uri, \PHP_URL_QUERY), $_GET);
            $_SERVER['REQUEST_METHOD'] = $method;
            $_SERVER['REQUEST_URI'] = $uri;
            $_SERVER['QUERY_STRING'] = (string)\parse_url('http://x' . $uri, \PHP_URL_QUERY);
            $_SERVER['REMOTE_ADDR'] = $c->getRemoteIp();
            $_SERVER['REMOTE_PORT'] = $c->getRemotePort();
            foreach (\explode("\r\n", $head) as $i => $line) {
                if ($i > 0 && ($at = \strpos($line, ':'))) {
                    $name = \strtoupper(\str_replace('-', '_', \substr($line, 0, $at)));
                    $_SERVER["HTTP_$name"] = \trim(\substr($line, $at + 1));
                }
            }
            foreach (\explode(';', $_SERVER['HTTP_COOKIE'] ?? '') as $pair) {
                if ($at = \strpos($pair, '=')) {
                    $_COOKIE[\trim(\substr($pair, 0, $at))] = \urldecode(\trim(\substr($pair, $at + 1)));
                }
            }
            return $request;
        }
    }

    /** Output is where echo goes: pushd's log, unless the program names a file. */
    final class Output
    {
        private static $before, $file; // where it went before, until the program is ready

        /** The program has not come to serve: pushd says why, and is told here what it has not read. */
        static function lastWords(): void
        {
            if (self::$before) {
                $e = \error_get_last();
                \fwrite(self::$before, ($e ? "$e[message] in $e[file]:$e[line]\n" : '') . 'what it has printed is in ' . self::$file . "\n");
            }
        }

        static function ready(): void
        {
            self::$before = null;
        }

        /** Whether nobody is at a terminal. */
        static function isDaemon(): bool
        {
            return \getenv('PUSHD_DAEMON') || \get_cfg_var('pushd.daemon');
        }

        static function redirect($file): void
        {
            $file = (string)$file;
            if ($file === '' || $file === '/dev/null' || !self::isDaemon()) {
                return; // in the foreground the terminal, as in Workerman
            }
            $to = @\fopen($file, 'a');
            if (!$to) {
                \Pushd\say("pushd: $file, where the program wants what it prints, cannot be written\n");
                return;
            }
            \fclose($to);
            self::$before = @\fopen('php://fd/2', 'a');
            self::$file = $file;
            global $STDOUT, $STDERR;
            \fclose(\STDOUT); // the lowest number that is free is the next one's: 1, then 2
            $STDOUT = \fopen($file, 'a');
            \fclose(\STDERR);
            $STDERR = \fopen($file, 'a');
        }
    }

    /** Events is what Worker::$globalEvent and getEventLoop() have. */
    final class Events
    {
        const EV_READ = 1, EV_WRITE = 2, EV_EXCEPT = 3, EV_SIGNAL = 4, EV_TIMER = 8, EV_TIMER_ONCE = 16;

        public function delay($seconds, $f, $args = [])
        {
            return Timers::set((float)$seconds, $f, (array)$args, false);
        }

        public function repeat($seconds, $f, $args = [])
        {
            return Timers::set((float)$seconds, $f, (array)$args, true);
        }

        public function offDelay($id)
        {
            return Timers::del((int)$id);
        }

        public function offRepeat($id)
        {
            return Timers::del((int)$id);
        }

        public function onReadable($stream, $f)
        {
            Loop::onReadable($stream, $f);
        }

        public function offReadable($stream)
        {
            Loop::onReadable($stream, null);
            return true;
        }

        public function onWritable($stream, $f)
        {
            Loop::onWritable($stream, $f);
        }

        public function offWritable($stream)
        {
            Loop::onWritable($stream, null);
            return true;
        }

        public function onSignal($signal, $f)
        {
            \pcntl_signal($signal, $f);
        }

        public function offSignal($signal)
        {
            return \pcntl_signal($signal, \SIG_IGN);
        }

        public function deleteAllTimer()
        {
            Timers::clear();
        }

        public function getTimerCount()
        {
            return Timers::count();
        }

        public function setErrorHandler($f)
        {
        }

        /** Workerman 3 and 4. */
        public function add($fd, $flag, $f, $args = [])
        {
            switch ($flag) {
                case self::EV_READ:
                    Loop::onReadable($fd, $f);
                    return true;
                case self::EV_WRITE:
                    Loop::onWritable($fd, $f);
                    return true;
                case self::EV_TIMER:
                case self::EV_TIMER_ONCE:
                    return Timers::set((float)$fd, $f, (array)$args, $flag === self::EV_TIMER);
                case self::EV_SIGNAL:
                    return \pcntl_signal($fd, $f);
            }
            return false;
        }

        public function del($fd, $flag)
        {
            switch ($flag) {
                case self::EV_READ:
                    Loop::onReadable($fd, null);
                    return true;
                case self::EV_WRITE:
                    Loop::onWritable($fd, null);
                    return true;
            }
            return Timers::del((int)$fd);
        }
    }
}
