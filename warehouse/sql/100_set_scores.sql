-- Staging: set-level scores with the words that describe them. Marts below read this, not metric_values.
create view set_scores as
select
    v.run_id,
    v.dataset_id,
    v.protocol_id,
    v.backend,
    v.system,
    coalesce(s.label, v.system) as label,
    s.kind,
    s.variant,
    s.num_steps,
    v.metric,
    coalesce(m.label, v.metric) as metric_label,
    m.unit,
    m.higher_is_better,
    m.published_name,
    coalesce(m.is_wall_clock, false) as is_wall_clock,
    v.value,
    v.ci_low,
    v.ci_high,
    v.n,
    v.num_identities,
    v.num_vectors,
    v.no_interval_because,
    p.paper_table
from metric_values v
left join systems s using (run_id, system)
left join metrics m using (metric)
left join protocols p using (protocol_id)
where v.clip_id is null;

comment on view set_scores is
    'Scores over whole sets, described. Grain: run, data set, system, metric, protocol, backend.';
