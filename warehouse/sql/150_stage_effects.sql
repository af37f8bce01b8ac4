create view stage_effects as
select
    d.run_id,
    d.dataset_id,
    d.protocol_id,
    d.backend,
    d.metric,
    coalesce(m.label, d.metric) as metric_label,
    m.unit,
    d.system_a,
    coalesce(a.label, d.system_a) as label_a,
    d.system_b,
    coalesce(b.label, d.system_b) as label_b,
    d.difference,
    d.ci_low,
    d.ci_high,
    d.n,
    d.num_identities,
    d.no_interval_because,
    m.higher_is_better,
    coalesce(m.is_wall_clock, false) as is_wall_clock,
    case
        when m.higher_is_better is null or d.ci_low is null or d.ci_high is null then null
        when d.ci_low <= 0 and d.ci_high >= 0 then 'not separated'
        when (d.difference > 0) = m.higher_is_better then 'better'
        else 'worse'
    end as verdict
from paired_differences d
left join metrics m using (metric)
left join systems a on a.run_id = d.run_id and a.system = d.system_a
left join systems b on b.run_id = d.run_id and b.system = d.system_b
order by d.run_id, d.dataset_id, d.system_a, d.system_b, d.metric, d.backend;

comment on view stage_effects is
    'Paired differences read in the direction of their metric. Grain: run, data set, pair, metric, protocol, backend.';
comment on column stage_effects.verdict is
    'better, worse (system_a against system_b, interval excludes zero) or not separated; null where the metric has no direction or no interval was computed.';
