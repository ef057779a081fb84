extension Verb {
  /// Every verb, in the order of `sluice --help`.
  static let all: [Verb] = [
    run,
    check,
    schema,
    policies,
    status,
    usage,
    explain,
    audit,
    inspect,
    echo,
    bench,
  ]
}
