<?php
namespace Pushd;

/**
 * Changed are the files that the process before this one has loaded, which serves still, and
 * that were written since it was started. Many a class comes with the first client alone,
 * when it is too late to say no. So this process looks at each before it is ready: it has to
 * parse, and where it declares classes and does nothing else PHP has to take the one of its
 * name. For others a loader of the program's may end it: they may come by other means.
 */
final class Changed
{
    const LONGEST = 524288; // bytes of a file: what PHP cuts it into takes a hundred times that

    /** Ends this process where there is one that PHP does not take, with PHP's words. */
    static function check(): void
    {
        $before = Link::$config['before'] ?? null;
        if (!$before || !$before['files'] || !\function_exists('token_get_all')) {
            return;
        }
        [$files, $moved] = self::here($before['files']);
        foreach ($files as $file) {
            $due = \is_file($file) && ($moved || \filectime($file) >= $before['since']) && \filesize($file) <= self::LONGEST;
            if (!$due || \in_array($file, \get_included_files(), true)) { // by the one before it in the list, too
                continue;
            }
            try {
                self::look($file, $files);
            } catch (\Error $e) {
                Program::uncaught($e);
                exit(1);
            }
        }
    }

    /** Where each release has a folder of its own, the files have other names now; and whether that is so. */
    private static function here(array $files): array
    {
        [$was, $is] = [\explode('/', $files[0]), \explode('/', Program::files()[0])];
        while ($was && \end($was) === \end($is)) {
            \array_pop($was);
            \array_pop($is);
        }
        [$from, $to] = [\implode('/', $was) . '/', \implode('/', $is) . '/'];
        return [\array_map(static function (string $file) use ($from, $to): string {
            return \strncmp($file, $from, \strlen($from)) === 0 ? $to . \substr($file, \strlen($from)) : $file;
        }, $files), $from !== $to];
    }

    private static function look(string $file, array $files): void
    {
        try {
            $tokens = \token_get_all((string)@\file_get_contents($file), \TOKEN_PARSE);
        } catch (\ParseError $e) { // it has been thrown here, in its own words
            $at = new \ReflectionProperty(\Error::class, 'file');
            $at->setAccessible(true);
            $at->setValue($e, $file);
            throw $e;
        }
        foreach (self::declared($tokens) as $class) {
            if (\strcasecmp((string)\strtok(\basename($file), '.'), \substr("\\$class", \strrpos("\\$class", '\\') + 1)) !== 0) {
                continue;
            }
            try {
                Names::theirs($class); // as the first that needs it would have it loaded
            } catch (\Error $e) {
                if (!self::comesLater($e->getMessage(), $files)) {
                    throw $e;
                }
            } catch (\Throwable $e) { // a loader that refuses what is loaded by other means
            }
        }
    }

    /** Whether a class cannot be had yet since what it needs is in a file that the program loads without being asked for it. */
    private static function comesLater(string $message, array $files): bool
    {
        if (!\preg_match('~^(?:Class|Interface|Trait) ["\']?[\w\\\\]*?(\w+)["\']? not found~', $message, $m)) {
            return false;
        }
        return Program::filesHave($files, ["class $m[1]", "interface $m[1]", "trait $m[1]", "$m[1]'", "$m[1]\""]); // class_alias() has it as text
    }

    /** The classes of a file, if it declares some and does nothing else: else it is not to be loaded before its time. */
    private static function declared(array $tokens): array
    {
        $classes = [];
        $space = '';
        $tokens = \array_values(\array_filter($tokens, static function ($t) {
            return !\in_array($t[0], [\T_WHITESPACE, \T_COMMENT, \T_DOC_COMMENT], true);
        }));
        for ($i = 0; $i < \count($tokens); $i++) {
            switch (\is_array($tokens[$i]) ? \token_name($tokens[$i][0]) : $tokens[$i]) { // by name: some are of later versions of PHP
                case 'T_DECLARE':
                case 'T_USE':
                    $i = self::to(';', $tokens, $i);
                    break;
                case 'T_NAMESPACE':
                    for ($space = ''; \is_array($tokens[$i + 1] ?? ''); $i++) {
                        $space .= $tokens[$i + 1][1];
                    }
                    break;
                case 'T_ATTRIBUTE':
                    $i = self::behind('[', ']', $tokens, $i);
                    break;
                case 'T_CLASS':
                case 'T_INTERFACE':
                case 'T_TRAIT':
                case 'T_ENUM':
                    $classes[] = \ltrim("$space\\{$tokens[$i + 1][1]}", '\\');
                    $i = self::behind('{', '}', $tokens, self::to('{', $tokens, $i));
                    break;
                case 'T_OPEN_TAG':
                case 'T_CLOSE_TAG':
                case 'T_ABSTRACT':
                case 'T_FINAL':
                case 'T_READONLY':
                case ';':
                case '{': // of a namespace
                case '}':
                    break;
                default:
                    return [];
            }
        }
        return $classes;
    }

    private static function to(string $end, array $tokens, int $i): int
    {
        while (isset($tokens[$i]) && $tokens[$i] !== $end) {
            $i++;
        }
        return $i;
    }

    /** The end of what the bracket at $i opens. */
    private static function behind(string $open, string $close, array $tokens, int $i): int
    {
        for ($depth = 1; $depth > 0 && isset($tokens[++$i]);) {
            $text = \is_array($tokens[$i]) ? $tokens[$i][1] : $tokens[$i];
            $string = \is_array($tokens[$i]) && \in_array($tokens[$i][0], [\T_CONSTANT_ENCAPSED_STRING, \T_ENCAPSED_AND_WHITESPACE, \T_INLINE_HTML], true);
            $depth += $string ? 0 : ($text === $open || $text === "\$$open" || $text === "#$open" ? 1 : ($text === $close ? -1 : 0));
        }
        return $i;
    }
}
