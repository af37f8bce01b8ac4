create view compute_cost as
select
    run_id,
    flow,
    status,
    preset,
    device,
    device_count,
    started_at,
    date_diff('millisecond', started_at, finished_at) / 3600000.0 as wall_hours,
    cpu_seconds / 3600.0 as cpu_hours,
    gpu_seconds / 3600.0 as gpu_hours
from runs
order by started_at, run_id;

comment on view compute_cost is
    'What every run that came to its end cost in hours; what failed and killed runs cost is not recorded. Grain: run. Sum gpu_hours by flow, preset or month to see where accelerators went.';
comment on column compute_cost.run_id is 'Name of the run; joins runs.';
comment on column compute_cost.flow is 'The flow, or the name of the experiment for train_eval; see runs.flow.';
comment on column compute_cost.status is 'completed; see runs.status.';
comment on column compute_cost.preset is 'Model and training preset, where one was used.';
comment on column compute_cost.device is 'What the models ran on: the name of the accelerator, or cpu; null where not recorded.';
comment on column compute_cost.device_count is 'Accelerators that the run used; 0 on a CPU, null where not recorded.';
comment on column compute_cost.started_at is 'Start, UTC.';
comment on column compute_cost.wall_hours is 'Hours from start to end.';
comment on column compute_cost.cpu_hours is 'CPU time in hours, over all cores; null where not recorded.';
comment on column compute_cost.gpu_hours is 'Accelerators times hours that the run held them; null where not recorded.';
