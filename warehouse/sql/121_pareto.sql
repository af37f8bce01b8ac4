create view pareto as
with points as (
    select
        'published' as origin,
        null as run_id,
        q.dataset as dataset_id,
        null as protocol_id,
        null as speed_protocol_id,
        null as speed_backend,
        q.metric as quality_metric,
        null as quality_backend,
        concat_ws(' ', q.method, q.variant) as label,
        q.method as system,
        s.value as fps,
        q.value as quality,
        q.higher_is_better
    from published_results q
    join published_results s
        on s.paper_table = q.paper_table
        and s.method = q.method
        and s.variant is not distinct from q.variant
        and s.metric = 'FPS'
    where q.paper_table = 'main_hdtf' and q.metric not in ('FPS', 'TTFF')
    union all by name
    select
        'measured' as origin,
        q.run_id,
        q.dataset_id,
        q.protocol_id,
        s.protocol_id as speed_protocol_id,
        s.backend as speed_backend,
        q.metric as quality_metric,
        q.backend as quality_backend,
        q.label,
        q.system,
        s.value as fps,
        q.value as quality,
        q.higher_is_better
    from set_scores q
    join set_scores s
        on s.run_id = q.run_id
        and s.dataset_id = q.dataset_id
        and s.system = q.system
        and s.published_name = 'FPS'
    where not q.is_wall_clock and q.higher_is_better is not null and q.kind is distinct from 'control'
)
select
    *,
    not exists (
        select 1
        from points o
        where o.origin = p.origin
            and o.dataset_id is not distinct from p.dataset_id
            and o.protocol_id is not distinct from p.protocol_id
            and o.speed_protocol_id is not distinct from p.speed_protocol_id
            and o.speed_backend is not distinct from p.speed_backend
            and o.quality_metric = p.quality_metric
            and o.quality_backend is not distinct from p.quality_backend
            and o.fps >= p.fps
            and (case when p.higher_is_better then o.quality >= p.quality else o.quality <= p.quality end)
            and (o.fps > p.fps or o.quality <> p.quality)
    ) as on_frontier
from points p
order by origin, dataset_id, quality_metric, quality_backend, fps desc, label;

comment on view pareto is
    'Speed against quality. Grain: origin, run, data set, protocols, quality metric and backend, speed backend, system. A frontier never crosses a backend, a protocol, a data set or the line between published and measured.';
comment on column pareto.on_frontier is 'No other system of the same comparison is at least as fast and as good, and better in one of them.';
