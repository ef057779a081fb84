extension Verb {
  /// Every verb, in the order of `sluice --help`.
  static let all: [Verb] = [
    run,
    router,
    check,
    plan,
    apply,
    history,
    diff,
    rollback,
    tenant,
    schema,
    policies,
    status,
    keys,
    revoke,
    clients,
    password,
    usage,
    explain,
    audit,
    inspect,
    echo,
    bench,
  ]
}
