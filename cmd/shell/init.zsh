{{$fn := index .Names 0 -}}
# {{$fn}} for zsh: completion{{if .Builtin}}, and `pushd VERB` at the prompt{{end}}
{{- if .Builtin}}
{{- if .ByPath}}
pushctl() { {{.Run}} "$@"; }
{{- end}}
pushd() {
  case "${1-}" in
  ({{.Verbs "|"}}|help)
    if [[ ! -d "$1" ]]; then {{.Run}} "$@"; return; fi ;;
  esac
  builtin pushd "$@"
}
{{- end}}
__{{$fn}}_complete() {
  if (( CURRENT == 2 )); then
    compadd -- {{.Verbs " "}} help
{{- if .Builtin}}
    [[ "$service" = pushd ]] && _files -/
{{- end}}
    return
  fi
  case "${words[2]}" in
{{- range .Commands}}
  ({{.Name}}) compadd -- {{.Flags}} ;;
{{- end}}
  esac
  _files
}
if (( $+functions[compdef] )); then
  compdef __{{$fn}}_complete {{$fn}}{{if .Builtin}} pushd{{end}}
fi
