{{$fn := index .Names 0 -}}
# {{$fn}} for bash: completion{{if .Builtin}}, and `pushd VERB` at the prompt{{end}}
{{- if .Builtin}}
{{- if .ByPath}}
pushctl() { {{.Run}} "$@"; }
{{- end}}
pushd() {
  case "${1-}" in
  {{.Verbs "|"}}|help)
    if [ ! -d "$1" ]; then {{.Run}} "$@"; return; fi ;;
  esac
  builtin pushd "$@"
}
{{- end}}
__{{$fn}}_words() {
  case "$1" in
{{- range .Commands}}
  {{.Name}}) echo "{{.Flags}}" ;;
{{- end}}
  esac
}
__{{$fn}}_complete() {
  local word="${COMP_WORDS[COMP_CWORD]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{{.Verbs " "}} help" -- "$word"))
{{- if .Builtin}}
    if [ "$1" = pushd ]; then COMPREPLY+=($(compgen -d -- "$word")); fi
{{- end}}
  else
    COMPREPLY=($(compgen -W "$(__{{$fn}}_words "${COMP_WORDS[1]}")" -- "$word") $(compgen -f -- "$word"))
  fi
}
complete -o filenames -F __{{$fn}}_complete {{$fn}}{{if .Builtin}} pushd{{end}}
